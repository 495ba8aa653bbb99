"""NamespaceLifecycle: nothing is made in a namespace that is missing or going, and the system's own stay.

Upstream counterpart: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle (v1.37).
"""

from knarr.api import errors
from knarr.apiserver.admission.chain import CREATE, DELETE, UPDATE, AdmissionRequest, Context, Object, Plugin

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_ALWAYS = frozenset({"localsubjectaccessreviews.authorization.k8s.io"})


def build(context: Context) -> Plugin:
    """Make the plugin; it knows all namespaces and follows their changes."""
    terminating: dict[str, bool] = {}

    def on_change(old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            terminating.pop(old["metadata"]["name"], None)
        else:
            terminating[new["metadata"]["name"]] = (new.get("status") or {}).get("phase") == "Terminating"

    for namespace in context.registry.list("namespaces"):
        on_change(None, namespace)
    context.registry.subscribe("namespaces", on_change)

    async def admit(request: AdmissionRequest) -> None:
        is_namespace = request.resource.qualified == "namespaces"
        if is_namespace:
            if request.operation == DELETE and request.name in IMMORTAL:
                raise errors.Forbidden("", "namespaces", request.name, "this namespace may not be deleted")
            return
        name = request.namespace
        if not name or request.operation == DELETE or request.resource.qualified in _ALWAYS:
            return
        if name not in terminating:
            raise errors.NotFound("", "namespaces", name)
        if request.operation == CREATE and terminating[name]:
            raise _terminating(request, name)

    return Plugin("NamespaceLifecycle", frozenset({CREATE, UPDATE, DELETE}), admit=admit)


def _terminating(request: AdmissionRequest, namespace: str) -> errors.Forbidden:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = request.forbidden(why)
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error.details.setdefault("causes", []).append(cause)
    return error
