"""Every active namespace has the ConfigMap `kube-root-ca.crt`, with which pods verify the API server.

Upstream counterpart: pkg/controller/certificates/rootcacertpublisher.
"""

from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.control import Context, informer, loop
from knarr.controllers import serviceaccount

NAME = "kube-root-ca.crt"
KEY = "ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": "The certificates with which this cluster's API server is verified from pods."
}


class Reconciler:
    """Publishes the authority's certificate in a namespace.

    Args:
        context: Client, informers and the certificate.
    """

    def __init__(self, context: Context, root_ca: str) -> None:
        self._client = context.client
        self._namespaces = context.informers.of(core_v1.Namespace)
        self._config_maps = context.informers.of(core_v1.ConfigMap, field_selector=f"metadata.name={NAME}")
        self._root_ca = root_ca

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Create the ConfigMap, or put its content right."""
        namespace = self._namespaces.get("", request.name)
        if namespace is None or not serviceaccount.is_active(namespace):
            return loop.Result()
        wanted = core_v1.ConfigMap(
            metadata=meta_v1.ObjectMeta(name=NAME, namespace=request.name, annotations=DESCRIPTION),
            data={KEY: self._root_ca},
        )
        current = self._config_maps.get(request.name, NAME)
        try:
            if current is None:
                await self._client.create(wanted)
            elif current.data != wanted.data:
                await self._client.update(replace(current, data=wanted.data))
        except (errors.AlreadyExists, errors.NotFound):
            pass  # made meanwhile, or the namespace has gone
        except errors.Forbidden:
            if serviceaccount.is_active(await self._client.get(core_v1.Namespace, request.name)):
                raise
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("root-ca-certificate-publisher", Reconciler(context, context.root_ca), context)
    controller.watch(core_v1.Namespace, loop.itself)
    published = context.informers.of(core_v1.ConfigMap, field_selector=f"metadata.name={NAME}")
    controller.follow(published, _of_namespace)
    return controller


def _of_namespace(old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> list[loop.Request]:
    return [loop.Request("", informer.key_of(new if new is not None else old)[0])]
