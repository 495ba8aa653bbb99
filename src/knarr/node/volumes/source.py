"""Contents of volumes from the API: ConfigMaps and Secrets as watched, tokens as requested and kept until they need renewal."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lightkube.models import authentication_v1, core_v1

from knarr.api import errors as api_errors
from knarr.client import Client, subresources
from knarr.kit.clock import Clock
from knarr.node.objects import Objects
from knarr.node.pods import spec as specs
from knarr.node.pods.errors import VolumeMissing

RENEW_SHARE = 0.8
RENEW_AFTER = timedelta(hours=24)
"""A token is renewed after this share of its life, or this long, whichever is sooner."""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: datetime
    expires: datetime


class ApiSource:
    """The contents of one pod's volumes.

    Args:
        pod: The pod.
        client: Requests tokens.
        objects: Watched ConfigMaps and Secrets.
        clock: The time.
        on_change: Called when an object that was asked for changes.
    """

    def __init__(
        self, pod: core_v1.Pod, client: Client, objects: Objects, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._pod = pod
        self._client = client
        self._objects = objects
        self._clock = clock
        self._on_change = on_change
        self._tokens: dict[tuple[str, int], _Token] = {}

    @property
    def renew_at(self) -> datetime | None:
        """When the first token needs renewal; None without tokens."""
        return min((token.renew_at for token in self._tokens.values()), default=None)

    async def config_map(self, name: str) -> core_v1.ConfigMap | None:
        """Return a ConfigMap of the pod's namespace."""
        return await self._objects.get(
            core_v1.ConfigMap,
            specs.namespace_of(self._pod),
            name,
            user=specs.uid_of(self._pod),
            on_change=self._on_change,
        )

    async def secret(self, name: str) -> core_v1.Secret | None:
        """Return a Secret of the pod's namespace."""
        return await self._objects.get(
            core_v1.Secret,
            specs.namespace_of(self._pod),
            name,
            user=specs.uid_of(self._pod),
            on_change=self._on_change,
        )

    async def token(self, audience: str, expiration_s: int) -> str:
        """Return a token of the pod's service account, bound to the pod."""
        now = self._clock.now()
        key = (audience, expiration_s)
        known = self._tokens.get(key)
        if known is not None and now < known.renew_at:
            return known.value
        try:
            token = await self._request(audience, expiration_s, now)
        except api_errors.StatusError as err:
            if known is not None and now < known.expires:
                return known.value
            raise VolumeMissing(f"failed to fetch token: {err}") from err
        self._tokens[key] = token
        return token.value

    async def claim(self, name: str) -> core_v1.PersistentVolume:
        """Return the volume that a claim of the pod's namespace is bound to."""
        namespace = specs.namespace_of(self._pod)
        try:
            claim = await self._client.get(core_v1.PersistentVolumeClaim, name, namespace=namespace)
            bound = claim.spec.volumeName if claim.spec is not None else None
            phase = claim.status.phase if claim.status is not None else None
            if not bound or phase != "Bound":
                raise VolumeMissing(f'PVC "{namespace}/{name}" is not bound')
            return await self._client.get(core_v1.PersistentVolume, bound)
        except api_errors.StatusError as err:
            raise VolumeMissing(f"failed to fetch PVC from API server: {err}") from err

    async def _request(self, audience: str, expiration_s: int, now: datetime) -> _Token:
        pod = self._pod
        request = authentication_v1.TokenRequest(
            spec=authentication_v1.TokenRequestSpec(
                audiences=[audience] if audience else None,
                expirationSeconds=expiration_s,
                boundObjectRef=authentication_v1.BoundObjectReference(
                    apiVersion="v1", kind="Pod", name=specs.name_of(pod), uid=specs.uid_of(pod)
                ),
            )
        )
        account = specs.spec_of(pod).serviceAccountName or "default"
        answer = await subresources.create_token(self._client, specs.namespace_of(pod), account, request)
        status = answer.status
        if status is None or not status.token or status.expirationTimestamp is None:
            raise VolumeMissing(f"failed to fetch token: the server issued none for service account {account}")
        life = status.expirationTimestamp - now
        return _Token(status.token, now + min(life * RENEW_SHARE, RENEW_AFTER), status.expirationTimestamp)
