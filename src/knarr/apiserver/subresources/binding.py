"""binding: a scheduler puts a pod on a node. Served below pods and, in its older form, as a collection of its own.

Source: pkg/registry/core/pod/storage/storage.go (BindingREST); ValidatePodBinding in pkg/apis/core/validation (v1.37).
"""

from typing import Any

from knarr.api import errors, field
from knarr.apiserver import intake, objects, options, responses
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.verbs import writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]

SCHEDULED = "PodScheduled"


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Bind a pod; answer with a Status."""
    write = options.write_options(call.values, "CreateOptions")
    binding = intake.read(parts, call, target, write.field_validation)
    metadata = objects.metadata_of(binding)
    name = target.name or metadata.get("name") or ""
    if metadata.get("name") and metadata["name"] != name:
        raise errors.BadRequest("name in URL does not match name in Binding object")
    _check(binding, name)
    request = AdmissionRequest(
        CREATE,
        target.resource,
        target.subresource,
        target.namespace,
        name,
        binding,
        None,
        call.user,
        write.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(request)
    await parts.chain.validate(request)
    pods = parts.registry.resource("pods")
    pod = Target(pods, pods, "", target.namespace, name)
    now = parts.now()
    await writing.adjust(parts, pod, lambda found: bind(found, binding, now), dry_run=write.dry_run)
    return await responses.send_object(call, success(), 201)


def bind(pod: Object, binding: Object, now: str) -> None:
    """Put a pod on a node.

    Raises:
        Conflict: it is on one, is being deleted or may not be scheduled yet, or is not the one that was meant.
    """
    metadata, spec, sent = pod["metadata"], pod["spec"], binding.get("metadata") or {}
    name = metadata["name"]
    why = ""
    if sent.get("uid") and sent["uid"] != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {metadata.get('uid')}"
    elif sent.get("resourceVersion") and sent["resourceVersion"] != metadata.get("resourceVersion"):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {sent['resourceVersion']}, "
            f"ResourceVersion in object meta: {metadata.get('resourceVersion')}"
        )
    elif metadata.get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    elif spec.get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        raise errors.Conflict("", "pods/binding", name, why)
    spec["nodeName"] = binding["target"]["name"]
    if sent.get("annotations"):
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **sent["annotations"]}
    status = pod.setdefault("status", {})
    others = [one for one in status.get("conditions") or [] if one.get("type") != SCHEDULED]
    condition = {"type": SCHEDULED, "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    status["conditions"] = [*others, condition]


def success() -> Object:
    """Return the Status that says that something was done."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _check(binding: Object, name: str) -> None:
    node = binding.get("target") or {}
    problems = []
    if node.get("kind") not in (None, "", "Node"):
        problems.append(field.not_supported(field.Path("target.kind"), node["kind"], ["Node", "<empty>"]))
    if not node.get("name"):
        problems.append(field.required(field.Path("target.name")))
    if problems:
        raise errors.Invalid("", "Binding", name, problems)
