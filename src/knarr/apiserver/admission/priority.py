"""Priority: a pod's class becomes its number.

Upstream counterpart: plugin/pkg/admission/priority (v1.37).
"""

from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.registry import Registry

RESOURCE = "priorityclasses.scheduling.k8s.io"
PREEMPT = "PreemptLowerPriority"


def build(context: Context) -> Plugin:
    """Make the plugin."""
    registry = context.registry

    async def admit(request: AdmissionRequest) -> None:
        if request.object is None or request.resource.qualified != "pods":
            return
        if request.operation == UPDATE:
            _keep(request.object["spec"], (request.old or {}).get("spec") or {})
        else:
            _assign(registry, request)

    async def validate(request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None or request.resource.qualified != RESOURCE or not obj.get("globalDefault"):
            return
        default = default_class(registry)
        if default is not None and default["metadata"]["name"] != obj["metadata"].get("name"):
            words = f"PriorityClass {default['metadata']['name']} is already marked as default."
            raise request.forbidden(f"{words} Only one default can exist")

    return Plugin(
        "Priority", frozenset({CREATE, UPDATE}), frozenset({"pods", RESOURCE}), admit=admit, validate=validate
    )


def default_class(registry: Registry) -> Object | None:
    """Return the PriorityClass for pods that name none: of several defaults the lowest."""
    defaults = [one for one in registry.list(RESOURCE) if one.get("globalDefault")]
    return min(defaults, key=lambda one: int(one["value"]), default=None)


def _keep(spec: Object, old: Object) -> None:
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and old.get(field) is not None:
            spec[field] = old[field]


def _assign(registry: Registry, request: AdmissionRequest) -> None:
    assert request.object is not None
    spec = request.object["spec"]
    name = spec.get("priorityClassName") or ""
    if name:
        found = registry.get(RESOURCE, "", name)
        if found is None:
            raise request.forbidden(f"no PriorityClass with name {name} was found")
    else:
        found = default_class(registry)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    priority = int(found["value"]) if found else 0
    policy = (found or {}).get("preemptionPolicy") or PREEMPT
    given = spec.get("priority")
    computed = "priority admission controller computed"
    if given is not None and given != priority:
        raise request.forbidden(
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"{computed} {priority} from the given PriorityClass name"
        )
    spec["priority"] = priority
    given = spec.get("preemptionPolicy")
    if given is not None and given != policy:
        raise request.forbidden(
            f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; "
            f"{computed} {policy} from the given PriorityClass name"
        )
    spec["preemptionPolicy"] = policy
