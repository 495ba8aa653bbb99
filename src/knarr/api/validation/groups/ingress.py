"""Ingresses.

Source: k8s.io/kubernetes/pkg/apis/networking/validation/validation.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation import addresses
from knarr.api.validation.collector import Errors, Object

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_NO_ADDRESS = "must be a DNS name, not an IP address"


def create(errors: Errors, obj: Object) -> None:
    """Check a new Ingress."""
    spec = obj.get("spec") or {}
    check(errors, spec)
    notes, name = (obj.get("metadata") or {}).get("annotations") or {}, spec.get("ingressClassName")
    if _CLASS_ANNOTATION in notes and name is not None and notes[_CLASS_ANNOTATION] != name:
        words = "must match `ingressClassName` when both are specified"
        errors.invalid(f"annotations.{_CLASS_ANNOTATION}", notes[_CLASS_ANNOTATION], words)


def update(errors: Errors, obj: Object, _old: Object) -> None:
    """Check a change of an Ingress."""
    check(errors, obj.get("spec") or {})


def check(errors: Errors, spec: Object) -> None:
    """Check the spec of an Ingress."""
    rules, backend = spec.get("rules"), spec.get("defaultBackend")
    if not rules and backend is None:
        errors.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        _backend(errors, backend, "spec.defaultBackend")
    for index, rule in enumerate(rules or ()):
        _rule(errors, rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        path, secret = f"spec.tls[{index}]", tls.get("secretName") or ""
        for position, host in enumerate(tls.get("hosts") or ()):
            _host(errors, host, f"{path}.hosts[{position}]")
        if secret:
            errors.all_invalid(f"{path}.secretName", secret, names.dns_subdomain(secret))
    name = spec.get("ingressClassName")
    if name is not None:
        errors.all_invalid("spec.ingressClassName", name, names.dns_subdomain(name))


def _host(errors: Errors, host: str, path: str) -> None:
    rule = names.wildcard_dns_subdomain if "*" in host else names.dns_subdomain
    errors.all_invalid(path, host, rule(host))


def _rule(errors: Errors, rule: Object, path: str) -> None:
    host, http = rule.get("host") or "", rule.get("http")
    if host:
        if addresses.parse(host) is not None:
            errors.invalid(f"{path}.host", host, _NO_ADDRESS)
        _host(errors, host, f"{path}.host")
    if http is None:
        return
    paths = http.get("paths") or ()
    if not paths:
        errors.required(f"{path}.http.paths")
    for index, one in enumerate(paths):
        _path(errors, one, f"{path}.http.paths[{index}]")


def _path(errors: Errors, given: Object, path: str) -> None:
    kind, text = given.get("pathType"), given.get("path") or ""
    if kind is None:
        errors.required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        errors.unsupported(f"{path}.pathType", kind, _PATH_TYPES)
    elif (text or kind != "ImplementationSpecific") and not text.startswith("/"):
        errors.invalid(f"{path}.path", text, "must be an absolute path")
    if kind in {"Exact", "Prefix"}:
        for sequence in _BAD_SEQUENCES:
            if sequence in text:
                errors.invalid(f"{path}.path", text, f"must not contain '{sequence}'")
        for suffix in _BAD_SUFFIXES:
            if text.endswith(suffix):
                errors.invalid(f"{path}.path", text, f"cannot end with '{suffix}'")
    _backend(errors, given.get("backend") or {}, f"{path}.backend")


def _backend(errors: Errors, backend: Object, path: str) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        errors.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        typed_reference(errors, resource, f"{path}.resource")
    elif service is not None:
        _service(errors, service, path)
    else:
        errors.invalid(path, "", "resource or service backend is required")


def _service(errors: Errors, service: Object, path: str) -> None:
    name, port = service.get("name") or "", service.get("port") or {}
    if name:
        errors.all_invalid(f"{path}.service.name", name, names.name_is_label(name, False))
    else:
        errors.required(f"{path}.service.name")
    port_name, number = port.get("name") or "", port.get("number") or 0
    if port_name and number:
        errors.invalid(path, "", "cannot set both port name & port number")
    elif port_name:
        errors.all_invalid(f"{path}.service.port.name", port_name, names.port_name(port_name))
    elif number:
        errors.all_invalid(f"{path}.service.port.number", number, names.port_number(number))
    else:
        errors.required(path, "port name or number is required")


def typed_reference(errors: Errors, reference: Object, path: str) -> None:
    """Check a reference to a resource of some group by kind and name."""
    group = reference.get("apiGroup")
    if group is not None:
        errors.all_invalid(f"{path}.apiGroup", group, names.dns_subdomain(group))
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        if value:
            errors.all_invalid(f"{path}.{field}", value, names.path_segment(value))
        else:
            errors.required(f"{path}.{field}", f"{field} is required")


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the load balancer's addresses in the status."""
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    for index, point in enumerate(balancer.get("ingress") or ()):
        path, address, host = f"status.loadBalancer.ingress[{index}]", point.get("ip"), point.get("hostname")
        if address:
            addresses.check(errors, address, f"{path}.ip")
        if host:
            errors.all_invalid(f"{path}.hostname", host, names.dns_subdomain(host))
            if addresses.parse(host) is not None:
                errors.invalid(f"{path}.hostname", host, _NO_ADDRESS)
