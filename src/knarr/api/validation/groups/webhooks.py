"""Webhook configurations, and the rules and conditions that admission policies share with them.

Source: k8s.io/kubernetes/pkg/apis/admissionregistration/validation/validation.go, k8s.io/apiserver/pkg/util/webhook (v1.37).
"""

from typing import Any
from urllib.parse import urlsplit

from knarr.api import names
from knarr.api.policies import expressions
from knarr.api.validation import selectors
from knarr.api.validation.collector import Errors, Object

_VERSIONS = ("v1", "v1beta1")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_FAILURE = ("Fail", "Ignore")
_MATCH = ("Equivalent", "Exact")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REINVOCATION = ("IfNeeded", "Never")
_TIMEOUT_MAX_S = 30
_CONDITIONS_MAX = 64
_URL_FORM = "desired format: https://host[/path]"


def configuration(errors: Errors, obj: Object) -> None:
    """Check a ValidatingWebhookConfiguration or a MutatingWebhookConfiguration."""
    seen = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name") or ""
        _hook(errors, hook, path)
        _review_versions(errors, hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")
        if name and name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)


def _hook(errors: Errors, hook: Object, path: str) -> None:
    name = hook.get("name") or ""
    if name:
        errors.all_invalid(f"{path}.name", name, names.fully_qualified_name(name))
    else:
        errors.required(f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        rule_with_operations(errors, rule, f"{path}.rules[{index}]")
    optional(errors, hook, "failurePolicy", _FAILURE, path)
    optional(errors, hook, "matchPolicy", _MATCH, path)
    if hook.get("sideEffects") is None:
        errors.required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    optional(errors, hook, "sideEffects", _SIDE_EFFECTS, path)
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= _TIMEOUT_MAX_S:
        words = f"the timeout value must be between 1 and {_TIMEOUT_MAX_S} seconds"
        errors.invalid(f"{path}.timeoutSeconds", timeout, words)
    for field in ("namespaceSelector", "objectSelector"):
        selectors.check(errors, hook.get(field), f"{path}.{field}")
    optional(errors, hook, "reinvocationPolicy", _REINVOCATION, path)
    client(errors, hook.get("clientConfig") or {}, f"{path}.clientConfig")
    compiler = expressions.Compiler(has_params=False, has_variables=False)
    conditions(errors, hook.get("matchConditions") or (), f"{path}.matchConditions", compiler)


def optional(errors: Errors, obj: Object, field: str, supported: tuple[str, ...], path: str) -> None:
    """Check an enumeration that may be absent."""
    value = obj.get(field)
    if value is not None and value not in supported:
        errors.unsupported(f"{path}.{field}", value, supported)


def rule_with_operations(errors: Errors, rule: Object, path: str) -> None:
    """Check which operations on which resources a hook or policy is for."""
    operations = rule.get("operations") or []
    if not operations:
        errors.required(f"{path}.operations")
    _lone_wildcard(errors, operations, f"{path}.operations", "operations")
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.unsupported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    groups, versions = rule.get("apiGroups") or [], rule.get("apiVersions") or []
    if not groups:
        errors.required(f"{path}.apiGroups")
    _lone_wildcard(errors, groups, f"{path}.apiGroups", "API groups")
    if not versions:
        errors.required(f"{path}.apiVersions")
    _lone_wildcard(errors, versions, f"{path}.apiVersions", "API versions")
    for index, version in enumerate(versions):
        if not version:
            errors.required(f"{path}.apiVersions[{index}]")
    _resources(errors, rule.get("resources") or [], f"{path}.resources")
    optional(errors, rule, "scope", _SCOPES, path)


def _lone_wildcard(errors: Errors, values: list[str], path: str, what: str) -> None:
    if len(values) > 1 and "*" in values:
        errors.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resources(errors: Errors, resources: list[str], path: str) -> None:
    if not resources:
        errors.required(path)
    with_all_sub: set[str] = set()
    all_with_sub: set[str] = set()
    for index, resource in enumerate(resources):
        here = f"{path}[{index}]"
        if not resource:
            errors.required(here)
            continue
        if resource == "*/*" and len(resources) > 1:
            errors.invalid(path, resources, "if '*/*' is present, must not specify other resources")
        name, slash, sub = resource.partition("/")
        if name in with_all_sub and slash:
            errors.invalid(here, resource, f"if '{name}/*' is present, must not specify {resource}")
        if sub in all_with_sub and slash:
            errors.invalid(here, resource, f"if '*/{sub}' is present, must not specify {resource}")
        if sub == "*":
            with_all_sub.add(name)
        if name == "*" and slash:
            all_with_sub.add(sub)
    if len(resources) > 1 and "*" in resources and not any("/" in one for one in resources):
        words = "if '*' is present, must not specify other resources without subresources"
        errors.invalid(path, resources, words)


def client(errors: Errors, config: Object, path: str) -> None:
    """Check where a webhook is: by URL or by Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        errors.required(path, "exactly one of url or service is required")
    elif url is not None:
        _url(errors, url, f"{path}.url")
    else:
        _service(errors, service or {}, f"{path}.service")


def _url(errors: Errors, url: str, path: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as err:
        errors.required(path, f"url must be a valid URL: {err}; {_URL_FORM}")
        return
    if parts.scheme != "https":
        errors.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme; {_URL_FORM}")
    if not parts.netloc:
        errors.invalid(path, parts.netloc, f"host must be specified; {_URL_FORM}")
    if "@" in parts.netloc:
        errors.invalid(path, parts.netloc.partition("@")[0], "user information is not permitted in the URL")
    if parts.fragment:
        errors.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        errors.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _service(errors: Errors, service: Object, path: str) -> None:
    for field, word in (("name", "service name"), ("namespace", "service namespace")):
        if not service.get(field):
            errors.required(f"{path}.{field}", f"{word} is required")
    port = service.get("port")
    if port is not None and names.port_number(port):
        errors.invalid(f"{path}.port", port, f"port is not valid: {','.join(names.port_number(port))}")
    target = service.get("path")
    if target in (None, "", "/"):
        return
    if not target.startswith("/"):
        errors.invalid(f"{path}.path", target, "must start with a '/'")
        return
    steps = target[1:].removesuffix("/").split("/")
    for index, step in enumerate(steps):
        if not step:
            errors.invalid(f"{path}.path", target, f"segment[{index}] may not be empty")
            continue
        for complaint in names.dns_subdomain(step):
            errors.invalid(f"{path}.path", target, f"segment[{index}]: {complaint}")


def _review_versions(errors: Errors, versions: list[str], path: str) -> None:
    listed = ", ".join(_VERSIONS)
    if not versions:
        errors.required(path, f"must specify one of {listed}")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.invalid(f"{path}[{index}]", version, "duplicate version")
        else:
            errors.all_invalid(f"{path}[{index}]", version, names.dns_label_1035(version))
    if not set(versions) & set(_VERSIONS):
        errors.invalid(path, versions, f"must include at least one of {listed}")


def conditions(errors: Errors, listed: Any, path: str, compiler: expressions.Compiler) -> None:
    """Check match conditions: names and expressions."""
    if len(listed) > _CONDITIONS_MAX:
        errors.too_many(path, len(listed), _CONDITIONS_MAX)
    seen = set()
    for index, condition in enumerate(listed):
        here, name = f"{path}[{index}]", condition.get("name") or ""
        compiles(errors, condition.get("expression") or "", f"{here}.expression", compiler, expressions.BOOL)
        if not name:
            errors.required(f"{here}.name")
        else:
            errors.all_invalid(f"{here}.name", name, names.qualified_name(name))
            if name in seen:
                errors.duplicate(f"{here}.name", name)
            seen.add(name)


def compiles(
    errors: Errors,
    text: str,
    path: str,
    compiler: expressions.Compiler,
    wanted: tuple[str, ...],
    *,
    has_authorizer: bool = True,
    missing: str = "",
) -> None:
    """Check that an expression is there and evaluates to what is wanted."""
    if not text.strip():
        errors.required(path, missing)
        return
    found = compiler.compile(text, wanted, has_authorizer=has_authorizer)
    if found.error:
        errors.invalid(path, text, found.error)
