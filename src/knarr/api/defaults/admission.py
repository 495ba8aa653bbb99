"""Admission webhooks and policies, and other objects that name a service to call.

Source: k8s.io/kubernetes/pkg/apis/admissionregistration/v1/defaults.go, k8s.io/apiextensions-apiserver and
k8s.io/kube-aggregator defaults.go (v1.37).
"""

from typing import Any

Object = dict[str, Any]

PORT = 443


def validating_webhooks(obj: Object) -> None:
    """Set the defaults of a ValidatingWebhookConfiguration."""
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)


def mutating_webhooks(obj: Object) -> None:
    """Set the defaults of a MutatingWebhookConfiguration."""
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)
        if webhook.get("reinvocationPolicy") is None:
            webhook["reinvocationPolicy"] = "Never"


def policy(obj: Object) -> None:
    """Set the defaults of a validating or mutating admission policy."""
    spec = obj.setdefault("spec", {})
    if spec.get("failurePolicy") is None:
        spec["failurePolicy"] = "Fail"
    _match(spec.get("matchConstraints"))


def policy_binding(obj: Object) -> None:
    """Set the defaults of the binding of an admission policy."""
    spec = obj.setdefault("spec", {})
    _match(spec.get("matchResources"))
    reference = spec.get("paramRef")
    if reference is not None and reference.get("parameterNotFoundAction") is None:
        reference["parameterNotFoundAction"] = "Deny"


def custom_resource_definition(obj: Object) -> None:
    """Set the defaults of a CustomResourceDefinition."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}
    _service_port(((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service"))
    status = obj.setdefault("status", {})
    if not status.get("storedVersions"):
        status["storedVersions"] = [one["name"] for one in spec.get("versions") or () if one.get("storage")][:1]


def api_service(obj: Object) -> None:
    """Set the defaults of an APIService."""
    _service_port((obj.get("spec") or {}).get("service"))


def _service_port(service: Object | None) -> None:
    if service is not None and service.get("port") is None:
        service["port"] = PORT


def _webhook(webhook: Object) -> None:
    values = {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10}
    for name, value in values.items():
        if webhook.get(name) is None:
            webhook[name] = value
    _selectors(webhook)
    _scopes(webhook.get("rules"))
    _service_port((webhook.get("clientConfig") or {}).get("service"))


def _match(match: Object | None) -> None:
    if match is not None:
        if match.get("matchPolicy") is None:
            match["matchPolicy"] = "Equivalent"
        _selectors(match)
        _scopes(match.get("resourceRules"))
        _scopes(match.get("excludeResourceRules"))


def _selectors(obj: Object) -> None:
    for name in ("namespaceSelector", "objectSelector"):
        if obj.get(name) is None:
            obj[name] = {}


def _scopes(rules: list[Object] | None) -> None:
    for rule in rules or ():
        if rule.get("scope") is None:
            rule["scope"] = "*"
