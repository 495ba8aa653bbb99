"""LimitRanger: fills in what containers request by default, and holds pods and claims within a namespace's limits.

Upstream counterpart: plugin/pkg/admission/limitranger (v1.37).
"""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.api import amounts, podresources
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin

ANNOTATION = "kubernetes.io/limit-ranger"
_CONTAINERS = (("containers", "container"), ("initContainers", "init container"))
_SHOWN: Mapping[str, str] = {"cpu": "1", "memory": "1Ki"}
Named = Mapping[str, Any]


def build(context: Context) -> Plugin:
    """Make the plugin."""

    def limit_ranges(request: AdmissionRequest) -> list[Object]:
        return context.registry.list("limitranges", request.namespace)

    def is_handled(request: AdmissionRequest) -> bool:
        if request.object is None or (request.old or {}).get("metadata", {}).get("deletionTimestamp"):
            return False
        if request.subresource == "resize":
            return request.operation == UPDATE
        return request.target == "persistentvolumeclaims" or request.operation == CREATE

    async def admit(request: AdmissionRequest) -> None:
        if request.resource.plural == "pods" and is_handled(request):
            assert request.object is not None
            for limit_range in limit_ranges(request):
                set_defaults(request.object, limit_range)

    async def validate(request: AdmissionRequest) -> None:
        if not is_handled(request):
            return
        assert request.object is not None
        check = pod_problems if request.resource.plural == "pods" else claim_problems
        for limit_range in limit_ranges(request):
            problems = list(dict.fromkeys(check(request.object, limit_range)))
            if problems:
                raise request.forbidden(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    targets = frozenset({"pods", "pods/resize", "persistentvolumeclaims"})
    return Plugin("LimitRanger", frozenset({CREATE, UPDATE}), targets, admit=admit, validate=validate)


def set_defaults(pod: Object, limit_range: Object) -> None:
    """Give a pod's containers the default requests and limits, and note on the pod what was set."""
    defaults: dict[str, Object] = {"limits": {}, "requests": {}}
    for limit in _limits(limit_range, "Container"):
        defaults["limits"].update(limit.get("default") or {})
        defaults["requests"].update(limit.get("defaultRequest") or {})
    notes = []
    for kind, words in _CONTAINERS:
        for container in pod["spec"].get(kind) or ():
            resources = container.setdefault("resources", {})
            for field, noun in (("requests", "request"), ("limits", "limit")):
                given = resources.get(field) or {}
                missing = {name: value for name, value in defaults[field].items() if name not in given}
                if missing:
                    resources[field] = {**given, **missing}
                    notes.append(f"{', '.join(sorted(missing))} {noun} for {words} {container['name']}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def pod_problems(pod: Object, limit_range: Object) -> list[str]:
    """Return what is wrong with a pod by the limits of its containers and of itself."""
    problems = []
    for limit in _limits(limit_range, "Container"):
        for kind, _ in _CONTAINERS:
            for container in pod["spec"].get(kind) or ():
                resources = container.get("resources") or {}
                problems += _check(limit, resources.get("requests") or {}, resources.get("limits") or {})
    for limit in _limits(limit_range, "Pod"):
        shown = {"requests": podresources.requests(pod), "limits": podresources.limits(pod)}
        named = {field: {name: _format(name, value) for name, value in one.items()} for field, one in shown.items()}
        problems += _check(limit, named["requests"], named["limits"])
    return problems


def claim_problems(claim: Object, limit_range: Object) -> list[str]:
    """Return what is wrong with the size of a claim."""
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    problems = []
    for limit in _limits(limit_range, "PersistentVolumeClaim"):
        for name, value in sorted((limit.get("min") or {}).items()):
            problems += _minimum(limit["type"], name, value, requests, {})
        for name, value in sorted((limit.get("max") or {}).items()):
            problems += _maximum_request(limit["type"], name, value, requests)
    return problems


def _limits(limit_range: Object, kind: str) -> list[Object]:
    return [one for one in (limit_range.get("spec") or {}).get("limits") or () if one.get("type") == kind]


def _check(limit: Object, requests: Named, limits: Named) -> list[str]:
    rules: tuple[tuple[str, Callable[[str, str, Any, Named, Named], list[str]]], ...] = (
        ("min", _minimum),
        ("max", _maximum),
        ("maxLimitRequestRatio", _ratio),
    )
    problems = []
    for field, rule in rules:
        for name, value in sorted((limit.get(field) or {}).items()):
            problems += rule(limit["type"], name, value, requests, limits)
    return problems


def _minimum(kind: str, name: str, enforced: Any, requests: Named, limits: Named) -> list[str]:
    words = f"minimum {name} usage per {kind} is {enforced}"
    if name not in requests:
        return [f"{words}.  No request is specified"]
    if amounts.nanos(requests[name]) < amounts.nanos(enforced):
        return [f"{words}, but request is {requests[name]}"]
    if name in limits and amounts.nanos(limits[name]) < amounts.nanos(enforced):
        return [f"{words}, but limit is {limits[name]}"]
    return []


def _maximum(kind: str, name: str, enforced: Any, requests: Named, limits: Named) -> list[str]:
    words = f"maximum {name} usage per {kind} is {enforced}"
    if name not in limits:
        return [f"{words}.  No limit is specified"]
    if amounts.nanos(limits[name]) > amounts.nanos(enforced):
        return [f"{words}, but limit is {limits[name]}"]
    if name in requests and amounts.nanos(requests[name]) > amounts.nanos(enforced):
        return [f"{words}, but request is {requests[name]}"]
    return []


def _maximum_request(kind: str, name: str, enforced: Any, requests: Named) -> list[str]:
    words = f"maximum {name} usage per {kind} is {enforced}"
    if name not in requests:
        return [f"{words}.  No request is specified"]
    if amounts.nanos(requests[name]) > amounts.nanos(enforced):
        return [f"{words}, but request is {requests[name]}"]
    return []


def _ratio(kind: str, name: str, enforced: Any, requests: Named, limits: Named) -> list[str]:
    words = f"{name} max limit to request ratio per {kind} is {enforced}, but"
    request, limit = amounts.nanos(requests.get(name, 0)), amounts.nanos(limits.get(name, 0))
    if not request:
        return [f"{words} no request is specified or request is 0"]
    if not limit:
        return [f"{words} no limit is specified or limit is 0"]
    if limit * amounts.NANOS > amounts.nanos(enforced) * request:
        return [f"{words} provided ratio is {limit / request:f}"]
    return []


def _format(name: str, amount: int) -> str:
    return amounts.format_like(amount, _SHOWN.get(name, "1"))
