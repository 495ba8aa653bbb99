"""Bootstrap tokens that have expired are deleted.

Upstream counterpart: pkg/controller/bootstrap/tokencleaner.go (v1.37).
"""

import contextlib

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, informer, loop
from knarr.controllers import bootstraptokens


class Reconciler:
    """Deletes one token's Secret when its time has come.

    Args:
        context: Client, informers and time.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._secrets = context.informers.of(core_v1.Secret, field_selector=f"type={bootstraptokens.TYPE}")

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete the Secret, or come back when it expires."""
        secret = self._secrets.get(request.namespace, request.name)
        if secret is None or secret.metadata is None:
            return loop.Result()
        left_s = bootstraptokens.seconds_left(secret, self._clock.now())
        if left_s is None or left_s > 0:
            return loop.Result(requeue_after_s=left_s)
        options = DeleteOptions(uid=secret.metadata.uid or "")
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.delete(core_v1.Secret, request.name, namespace=request.namespace, options=options)
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("token-cleaner", Reconciler(context), context)
    secrets = context.informers.of(core_v1.Secret, field_selector=f"type={bootstraptokens.TYPE}")
    controller.follow(secrets, _of_secret)
    return controller


def _of_secret(old: core_v1.Secret | None, new: core_v1.Secret | None) -> list[loop.Request]:
    if new is None or informer.key_of(new)[0] != bootstraptokens.NAMESPACE:
        return []
    return loop.itself(new)
