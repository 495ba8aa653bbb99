"""DefaultIngressClass: an ingress that names no class gets the default one.

Upstream counterpart: plugin/pkg/admission/network/defaultingressclass (v1.37).
"""

from knarr.apiserver.admission import defaultclass
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest, Context, Plugin

RESOURCE = "ingressclasses.networking.k8s.io"
ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
OLD_CLASS = "kubernetes.io/ingress.class"


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object.setdefault("spec", {})
        annotations = request.object["metadata"].get("annotations") or {}
        if spec.get("ingressClassName") is not None or OLD_CLASS in annotations:
            return
        default = defaultclass.choose(context.registry.list(RESOURCE), (ANNOTATION,))
        if default is not None:
            spec["ingressClassName"] = default["metadata"]["name"]

    targets = frozenset({"ingresses.networking.k8s.io"})
    return Plugin("DefaultIngressClass", frozenset({CREATE}), targets, admit=admit)
