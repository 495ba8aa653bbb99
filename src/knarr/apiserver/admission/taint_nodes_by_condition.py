"""TaintNodesByCondition: a new node takes no pods until it is known to be ready.

Upstream counterpart: plugin/pkg/admission/nodetaint (v1.37).
"""

from knarr.apiserver.admission.chain import CREATE, AdmissionRequest, Context, Plugin

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(all(taint.get(key) == value for key, value in NOT_READY.items()) for taint in taints):
            spec["taints"] = [*taints, dict(NOT_READY)]

    return Plugin("TaintNodesByCondition", frozenset({CREATE}), frozenset({"nodes"}), admit=admit)
