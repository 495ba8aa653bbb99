"""DefaultTolerationSeconds: pods bear a node that is not ready or unreachable for five minutes.

Upstream counterpart: plugin/pkg/admission/defaulttolerationseconds (v1.37).
"""

from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Plugin

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object["spec"]
        tolerations = spec.get("tolerations") or []
        missing = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
            for key in TAINTS
            if not any(
                (one.get("key") or key) == key and (one.get("effect") or "NoExecute") == "NoExecute"
                for one in tolerations
            )
        ]
        if missing:
            spec["tolerations"] = [*tolerations, *missing]

    return Plugin("DefaultTolerationSeconds", frozenset({CREATE, UPDATE}), frozenset({"pods"}), admit=admit)
