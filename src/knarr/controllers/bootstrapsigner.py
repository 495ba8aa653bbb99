"""The ConfigMap `cluster-info` in kube-public is signed with every bootstrap token, so that who knows one can trust it.

It holds a kubeconfig with the API server's address and authority. A signature is a JWS whose payload is left out, in `jws-kubeconfig-<id>`.

Upstream counterpart: pkg/controller/bootstrap/bootstrapsigner.go, k8s.io/cluster-bootstrap/token/jws (v1.37).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.control import Context, informer, loop
from knarr.controllers import bootstraptokens

NAMESPACE, NAME = "kube-public", "cluster-info"
KUBECONFIG = "kubeconfig"
PREFIX = "jws-kubeconfig-"


class Reconciler:
    """Brings the signatures up to date.

    Args:
        context: Client, informers and time.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._maps = context.informers.of(core_v1.ConfigMap, field_selector=f"metadata.name={NAME}")
        self._secrets = context.informers.of(core_v1.Secret, field_selector=f"type={bootstraptokens.TYPE}")

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Sign anew, add and remove signatures where they are not what they should be."""
        found = self._maps.get(NAMESPACE, NAME)
        if found is None:
            return loop.Result()
        now = self._clock.now()
        secrets = self._secrets.list(bootstraptokens.NAMESPACE)
        tokens = [token for one in secrets if (token := bootstraptokens.read_signing(one, now)) is not None]
        data = plan(found.data or {}, tokens)
        if data != (found.data or {}):
            await self._client.update(replace(found, data=data))
        ends = [
            left_s for one in secrets if (left_s := bootstraptokens.seconds_left(one, now)) is not None and left_s > 0
        ]
        return loop.Result(requeue_after_s=min(ends) if ends else None)


def plan(data: Mapping[str, str], tokens: Iterable[bootstraptokens.Token]) -> dict[str, str]:
    """Return the ConfigMap's data with the signatures of these tokens and no others."""
    kept = {key: value for key, value in data.items() if not key.startswith(PREFIX)}
    if KUBECONFIG not in kept:
        return kept
    return {**kept, **{PREFIX + token.id: sign(kept[KUBECONFIG], token) for token in tokens}}


def sign(content: str, token: bootstraptokens.Token) -> str:
    """Return the detached signature of a text: header, nothing, HMAC-SHA256, as RFC 7515 appendix F has it."""
    header = _encode(f'{{"alg":"HS256","kid":"{token.id}"}}'.encode())
    signed = f"{header}.{_encode(content.encode())}".encode()
    return f"{header}..{_encode(hmac.digest(token.secret.encode(), signed, hashlib.sha256))}"


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("bootstrap-signer", reconciler, context, workers=1)
    one = [loop.Request(NAMESPACE, NAME)]

    def of_map(old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> list[loop.Request]:
        return one if informer.key_of(new if new is not None else old)[0] == NAMESPACE else []

    controller.follow(context.informers.of(core_v1.ConfigMap, field_selector=f"metadata.name={NAME}"), of_map)
    controller.follow(
        context.informers.of(core_v1.Secret, field_selector=f"type={bootstraptokens.TYPE}"), lambda old, new: one
    )
    return controller


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
