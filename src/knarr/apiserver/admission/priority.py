"""Priority: a pod's class becomes its number.

Upstream counterpart: plugin/pkg/admission/priority (v1.37), and for the classes that every cluster has
pkg/registry/scheduling/rest/storage_scheduling.go.
"""

import uuid
from datetime import datetime

from knarr.api import errors
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.registry import Registry

RESOURCE = "priorityclasses.scheduling.k8s.io"
PREEMPT = "PreemptLowerPriority"
SYSTEM_CLASSES = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)
"""Name, value and description of the classes that every cluster has."""


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


async def ensure_system_classes(registry: Registry, *, now: datetime) -> None:
    """Create the classes that every cluster has, if they are missing."""
    for name, value, description in SYSTEM_CLASSES:
        if registry.get(RESOURCE, "", name) is not None:
            continue
        created: Object = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {
                "name": name,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "generation": 1,
            },
            "value": value,
            "description": description,
            "preemptionPolicy": PREEMPT,
        }
        try:
            await registry.create(RESOURCE, created)
        except errors.AlreadyExists:
            continue  # another API server was faster


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
