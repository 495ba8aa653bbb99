"""Objects by which the control plane steers itself: flow control, priorities, devices, tokens.

Source: k8s.io/kubernetes/pkg/apis/{flowcontrol,scheduling,resource,authentication,certificates,node}/v1/defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import quantities

Object = dict[str, Any]

MATCHING_PRECEDENCE = 1000
TOKEN_SECONDS = 3600
POD_CERTIFICATE_SECONDS = 86400


def _fill(obj: Object, **values: Any) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def flow_schema(obj: Object) -> None:
    """Set the defaults of a FlowSchema."""
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = MATCHING_PRECEDENCE


def priority_level(obj: Object) -> None:
    """Set the defaults of a PriorityLevelConfiguration."""
    spec = obj.setdefault("spec", {})
    if spec.get("type") == "Exempt":
        _fill(spec, exempt={})
        _fill(spec["exempt"], nominalConcurrencyShares=0, lendablePercent=0)
    limited = spec.get("limited")
    if limited is not None:
        _fill(limited, nominalConcurrencyShares=30, lendablePercent=0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                if not queuing.get(name):
                    queuing[name] = value


def priority_class(obj: Object) -> None:
    """Set the defaults of a PriorityClass."""
    if obj.get("preemptionPolicy") is None:
        obj["preemptionPolicy"] = "PreemptLowerPriority"


def runtime_class(obj: Object) -> None:
    """Round the overhead of a RuntimeClass."""
    quantities.round_up((obj.get("overhead") or {}).get("podFixed"))


def resource_claim(obj: Object) -> None:
    """Set the defaults of a ResourceClaim."""
    _claim_spec(obj.get("spec"))


def resource_claim_template(obj: Object) -> None:
    """Set the defaults of a ResourceClaimTemplate."""
    _claim_spec((obj.get("spec") or {}).get("spec"))


def _claim_spec(spec: Object | None) -> None:
    for request in ((spec or {}).get("devices") or {}).get("requests") or ():
        exactly = request.get("exactly")
        if exactly is not None:
            _device_request(exactly)
        for one in request.get("firstAvailable") or ():
            _device_request(one)


def _device_request(request: Object) -> None:
    if not request.get("allocationMode"):
        request["allocationMode"] = "ExactCount"
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    for toleration in request.get("tolerations") or ():
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"


def token_request(obj: Object) -> None:
    """Set the defaults of a TokenRequest."""
    _fill(obj.setdefault("spec", {}), expirationSeconds=TOKEN_SECONDS)


def pod_certificate_request(obj: Object) -> None:
    """Set the defaults of a PodCertificateRequest."""
    _fill(obj.setdefault("spec", {}), maxExpirationSeconds=POD_CERTIFICATE_SECONDS)
