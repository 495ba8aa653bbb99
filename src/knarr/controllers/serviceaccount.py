"""Every active namespace has the account `default`.

Upstream counterpart: pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from lightkube.models import core_v1, meta_v1

from knarr.api import errors
from knarr.control import Context, informer, loop

NAME = "default"


class Reconciler:
    """Makes the default account of a namespace.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.informers.of(core_v1.Namespace)
        self._accounts = context.informers.of(core_v1.ServiceAccount)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Create the account unless it is there or the namespace is going."""
        namespace = self._namespaces.get("", request.name)
        if namespace is None or not is_active(namespace) or self._accounts.get(request.name, NAME):
            return loop.Result()
        account = core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name=NAME, namespace=request.name))
        try:
            await self._client.create(account)
        except (errors.AlreadyExists, errors.NotFound):
            pass  # made meanwhile, or the namespace has gone
        except errors.Forbidden:
            if is_active(await self._client.get(core_v1.Namespace, request.name)):
                raise
        return loop.Result()


def is_active(namespace: core_v1.Namespace) -> bool:
    """Tell whether a namespace is not being deleted."""
    phase = namespace.status.phase if namespace.status else None
    return phase != "Terminating" and not (namespace.metadata and namespace.metadata.deletionTimestamp)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("serviceaccount", Reconciler(context), context)
    controller.watch(core_v1.Namespace, loop.itself)
    controller.watch(core_v1.ServiceAccount, lambda account: [loop.Request("", informer.key_of(account)[0])])
    return controller
