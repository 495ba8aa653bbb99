"""DELETE of one object: at once, after a time of grace, or once its finalizers are gone.

Source: k8s.io/apiserver/pkg/registry/rest/delete.go (BeforeDelete), pkg/registry/generic/registry/store.go (Delete,
deletionFinalizersForGarbageCollection) and pkg/endpoints/handlers/delete.go (v1.37).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from knarr.api import codec, errors, field
from knarr.apiserver import intake, negotiate, objects, options, responses, views
from knarr.apiserver.admission.chain import DELETE, AdmissionRequest
from knarr.apiserver.customresources import reading
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table
from knarr.apiserver.strategies.strategy import Context, Strategy, bump_generation
from knarr.kit.http.messages import Response
from knarr.store import backend as backends

Object = dict[str, Any]

FOREGROUND, BACKGROUND, ORPHAN = "Foreground", "Background", "Orphan"
ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_ATTEMPTS = 64
_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete.

    Attributes:
        grace_s: Seconds that the object gets to end; None leaves it to the object.
        policy: "Foreground", "Background", "Orphan", or "" for the kind's own.
        orphan: The older way to ask for Orphan or Background; None if not said.
        uid: Delete only the object with this uid.
        resource_version: Delete only this version.
        dry_run: Change nothing.
        raw: The options as admission sees them.
    """

    grace_s: int | None = None
    policy: str = ""
    orphan: bool | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
    raw: Any = None


def read_options(call: Call) -> DeleteOptions:
    """Read DeleteOptions from the body, or from the query if there is no body.

    Raises:
        BadRequest: they cannot be read.
        Invalid: they contradict each other.
    """
    raw = intake.decode_options(call, "DeleteOptions") if call.request.body else _from_query(call.values)
    preconditions = raw.get("preconditions") or {}
    found = DeleteOptions(
        raw.get("gracePeriodSeconds"),
        raw.get("propagationPolicy") or "",
        raw.get("orphanDependents"),
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        bool(raw.get("dryRun")),
        {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **raw},
    )
    problems = _check(found, raw)
    if problems:
        raise errors.Invalid("meta.k8s.io", "DeleteOptions", "", problems)
    return found


def _from_query(values: options.Values) -> Object:
    raw: Object = {}
    grace_s = options.integer(values, "gracePeriodSeconds")
    if grace_s is not None:
        raw["gracePeriodSeconds"] = grace_s
    if "propagationPolicy" in values:
        raw["propagationPolicy"] = options.text(values, "propagationPolicy")
    if "orphanDependents" in values:
        raw["orphanDependents"] = options.flag(values, "orphanDependents")
    if "dryRun" in values:
        raw["dryRun"] = list(values["dryRun"])
    return raw


def _check(given: DeleteOptions, raw: Object) -> list[field.FieldError]:
    problems = []
    path = field.Path("propagationPolicy")
    if given.policy and given.orphan is not None:
        words = "orphanDependents and deletionPropagation cannot be both set"
        problems.append(field.invalid(path, given.policy, words))
    elif raw.get("propagationPolicy") is not None and given.policy not in (FOREGROUND, BACKGROUND, ORPHAN):
        problems.append(field.not_supported(path, given.policy, [FOREGROUND, BACKGROUND, ORPHAN, "nil"]))
    dry_run = raw.get("dryRun") or []
    if any(value != "All" for value in dry_run):
        problems.append(field.not_supported(field.Path("dryRun"), dry_run, ["All"]))
    return problems


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer a DELETE."""
    form = negotiate.of(call.request, target.resource)
    given = read_options(call)
    value, is_gone = await delete(parts, call, target, given)
    if (
        table.of(target.stored).orphans
        and target.resource.group == "batch"
        and not given.policy
        and given.orphan is None
    ):
        call.warnings.append(_JOB_WARNING)
    if is_gone and not table.of(target.stored).returns_deleted:
        return await responses.send_object(call, _success(target, value))
    is_waited_for = not is_gone and given.orphan is False
    value = await reading.show_one(parts, target.resource, value)
    body = views.of(parts, call, target, form).one(value)
    return await responses.send(call, form, body, 202 if is_waited_for else 200)


async def delete(parts: Parts, call: Call, target: Target, given: DeleteOptions) -> tuple[bytes, bool]:
    """Delete an object, or begin to.

    Returns:
        The object in the stored version, encoded, and whether it is gone.

    Raises:
        NotFound: there is none.
        Conflict: a precondition fails.
        Forbidden: admission refuses.
    """
    strategy = table.of(target.stored)
    context = Context(parts, target, call.user, given.dry_run)
    is_admitted = False
    for _ in range(_ATTEMPTS):
        entry = parts.store.get(target.key)
        if entry is None:
            raise target.not_found()
        old = objects.decode(entry.value)
        _check_preconditions(target, old, given)
        if not is_admitted:
            seen = await reading.decode(parts, target.resource, entry.value) if target.resource.custom else old
            await _admit(parts, call, target, seen, given)
            is_admitted = True
            continue
        obj = objects.decode(entry.value)
        is_done = plan(context, strategy, obj, given)
        result = await _store(context, obj, old, entry, is_done=is_done)
        if result is not None:
            return result, is_done
    raise target.conflict()


def plan(context: Context, strategy: Strategy, obj: Object, given: DeleteOptions) -> bool:
    """Change an object in place into what a deletion leaves of it.

    Returns:
        Whether nothing is left: it can be removed.
    """
    metadata = obj["metadata"]
    if _is_pending(metadata, given):
        return False
    if not metadata.get("deletionTimestamp"):
        strategy.prepare_delete(context, obj)
    is_waiting = _begin_grace(context, strategy, obj, given)
    finalizers = _finalizers(strategy, metadata, given)
    if finalizers != (metadata.get("finalizers") or []):
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
    is_namespace = context.target.stored.kind == "Namespace" and context.target.stored.group == ""
    holds = bool(finalizers) or (is_namespace and bool((obj.get("spec") or {}).get("finalizers")))
    if not is_waiting and holds and not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = context.parts.now()
        if not is_namespace:
            metadata["deletionGracePeriodSeconds"] = 0
        _count(strategy, obj)
    elif not is_waiting and holds and metadata.get("deletionGracePeriodSeconds"):
        metadata["deletionGracePeriodSeconds"] = 0
    if is_namespace and holds:
        obj.setdefault("status", {})["phase"] = "Terminating"
    return not is_waiting and not holds


def _is_pending(metadata: Object, given: DeleteOptions) -> bool:
    """Return whether a deletion is under way already that this one does not hasten."""
    running_s = metadata.get("deletionGracePeriodSeconds")
    if not metadata.get("deletionTimestamp") or running_s is None:
        return False
    return given.grace_s is None or given.grace_s >= running_s


def _begin_grace(context: Context, strategy: Strategy, obj: Object, given: DeleteOptions) -> bool:
    """Set or shorten the time of grace; return whether the object still has some of it."""
    metadata = obj["metadata"]
    running_s = metadata.get("deletionGracePeriodSeconds")
    if metadata.get("deletionTimestamp"):
        if running_s is None or given.grace_s is None or given.grace_s <= 0:
            return False
        ends = datetime.strptime(metadata["deletionTimestamp"], _FORMAT) + timedelta(seconds=given.grace_s - running_s)
        metadata["deletionTimestamp"] = ends.strftime(_FORMAT)
        metadata["deletionGracePeriodSeconds"] = given.grace_s
        return True
    grace_s = strategy.grace_s(obj, given.grace_s)
    if grace_s == 0:
        return False
    metadata["deletionTimestamp"] = (context.parts.clock.now() + timedelta(seconds=grace_s)).strftime(_FORMAT)
    metadata["deletionGracePeriodSeconds"] = grace_s
    _count(strategy, obj)
    return True


def _count(strategy: Strategy, obj: Object) -> None:
    if obj["metadata"].get("generation") or strategy.has_generation:
        bump_generation(obj)


def _finalizers(strategy: Strategy, metadata: Object, given: DeleteOptions) -> list[str]:
    """Return the finalizers with those of the wanted treatment of dependents."""
    before = list(metadata.get("finalizers") or ())
    orphan, foreground = _wishes(strategy, before, given)
    kept = [name for name in before if name not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER)]
    if orphan:
        kept.append(ORPHAN_FINALIZER)
    if foreground:
        kept.append(FOREGROUND_FINALIZER)
    return before if sorted(kept) == sorted(before) else kept


def _wishes(strategy: Strategy, finalizers: list[str], given: DeleteOptions) -> tuple[bool, bool]:
    if given.orphan is not None:
        return given.orphan, False
    if given.policy:
        return given.policy == ORPHAN, given.policy == FOREGROUND
    if ORPHAN_FINALIZER in finalizers or FOREGROUND_FINALIZER in finalizers:
        return ORPHAN_FINALIZER in finalizers, FOREGROUND_FINALIZER in finalizers
    return strategy.orphans, False


async def _store(context: Context, obj: Object, old: Object, entry: backends.Entry, *, is_done: bool) -> bytes | None:
    parts, target = context.parts, context.target
    if context.dry_run:
        return entry.value if is_done else codec.encode_response(obj)
    if is_done:
        result = await parts.store.delete(target.key, expected=entry.modified)
    elif obj == old:
        return entry.value
    else:
        result = await parts.store.update(target.key, codec.encode(obj), expected=entry.modified)
    return None if isinstance(result, backends.Conflict) else result.value


async def _admit(parts: Parts, call: Call, target: Target, old: Object, given: DeleteOptions) -> None:
    request = AdmissionRequest(
        DELETE,
        target.resource,
        target.subresource,
        target.namespace,
        target.name,
        None,
        old if target.resource.custom else objects.to_version(target.resource, old),
        call.user,
        given.dry_run,
        given.raw or {},
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(request)
    await parts.chain.validate(request)


def _check_preconditions(target: Target, obj: Object, given: DeleteOptions) -> None:
    metadata = obj["metadata"]
    uid, version = metadata.get("uid", ""), metadata.get("resourceVersion", "")
    if given.uid and given.uid != uid:
        raise target.conflict(
            f"the UID in the precondition ({given.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
    if given.resource_version and given.resource_version != version:
        raise target.conflict(
            f"the ResourceVersion in the precondition ({given.resource_version}) does not match the ResourceVersion in "
            f"record ({version}). The object might have been modified"
        )


def _success(target: Target, value: bytes) -> Object:
    metadata = objects.decode(value)["metadata"]
    resource = target.resource
    details = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": metadata.get("uid", "")}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: text for key, text in details.items() if text},
    }
