"""ResourceQuota: a namespace gets no more than its quotas allow.

What is used is counted from the objects themselves at the moment of the request, so it is never stale; what has been admitted
but not yet stored is remembered for a few seconds, so that requests side by side cannot share the same room. Upstream keeps
the count in the quota's status and races for that instead; the status here is the quota controller's to write.

Upstream counterpart: k8s.io/apiserver/pkg/admission/plugin/resourcequota (v1.37).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from knarr.api import amounts
from knarr.api import quota as quota_usage
from knarr.api.podresources import Amounts, add
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin

PROMISE_S = 5.0
"""How long something admitted counts though it is not stored: its write has failed, or will be seen before that."""
_IGNORED = frozenset({"events", "events.events.k8s.io"})
_UPDATED = frozenset({"services", "persistentvolumeclaims"})


@dataclass(frozen=True, slots=True)
class _Promise:
    resource: str
    name: str
    obj: Object
    until_s: float


class _Evaluator:
    def __init__(self, context: Context) -> None:
        self._registry = context.registry
        self._clock = context.clock
        self._promises: dict[str, list[_Promise]] = {}

    async def validate(self, request: AdmissionRequest) -> None:
        resource = request.resource.qualified
        if request.object is None or not request.namespace or not _is_handled(request, resource):
            return
        quotas = self._registry.list("resourcequotas", request.namespace)
        if not quotas:
            return
        now = self._clock.now()
        new = quota_usage.usage(resource, request.object, now)
        old = quota_usage.usage(resource, request.old, now) if request.old is not None else {}
        is_charged = False
        for quota in sorted(quotas, key=lambda one: str(one["metadata"]["name"])):
            is_charged |= self._check(request, resource, quota, new, old)
        if is_charged and not request.dry_run:
            promise = _Promise(resource, request.shown_name, request.object, self._clock.monotonic_s() + PROMISE_S)
            self._promises.setdefault(request.namespace, []).append(promise)

    def _check(
        self, request: AdmissionRequest, resource: str, quota: Object, new: Amounts, old: Mapping[str, int]
    ) -> bool:
        """Refuse what exceeds one quota; return whether the request uses any of it."""
        assert request.object is not None
        hard = {
            name: value
            for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()
            if quota_usage.is_counted(resource, name)
        }
        if not hard or not quota_usage.is_in_scopes(quota, resource, request.object):
            return False
        name = quota["metadata"]["name"]
        if resource == "pods":
            problem = quota_usage.missing(request.object, hard)
            if problem:
                raise request.forbidden(f"failed quota: {name}: {problem}")
        if old and not quota_usage.is_in_scopes(quota, resource, request.old or {}):
            old = {}
        delta = {key: new[key] - old.get(key, 0) for key in hard if new.get(key, 0) > old.get(key, 0)}
        if not delta:
            return False
        used = self._used(request.namespace, resource, quota, hard)
        exceeded = sorted(key for key in delta if used[key] + delta[key] > amounts.nanos(hard[key]))
        if exceeded:
            raise request.forbidden(
                f"exceeded quota: {name}, requested: {_show(exceeded, delta, hard)}, "
                f"used: {_show(exceeded, used, hard)}, limited: {','.join(f'{key}={hard[key]}' for key in exceeded)}"
            )
        return True

    def _used(self, namespace: str, resource: str, quota: Object, hard: Mapping[str, object]) -> Amounts:
        now = self._clock.now()
        total: Amounts = dict.fromkeys(hard, 0)
        for obj in self._objects(namespace, resource):
            if quota_usage.is_in_scopes(quota, resource, obj):
                used = quota_usage.usage(resource, obj, now)
                add(total, {key: used[key] for key in hard if key in used})
        return total

    def _objects(self, namespace: str, resource: str) -> Iterable[Object]:
        """Return the stored objects with what was promised in the place of what is older."""
        stored = {obj["metadata"]["name"]: obj for obj in self._registry.list(resource, namespace)}
        kept = []
        for promise in self._promises.get(namespace, ()):
            if promise.until_s <= self._clock.monotonic_s():
                continue
            if promise.resource == resource:
                current = stored.get(promise.name)
                if current is not None and current["metadata"].get("uid") == promise.obj["metadata"].get("uid"):
                    is_new = current["metadata"].get("resourceVersion") == promise.obj["metadata"].get(
                        "resourceVersion"
                    )
                    if not is_new:
                        continue  # written meanwhile
                stored[promise.name] = promise.obj
            kept.append(promise)
        if kept:
            self._promises[namespace] = kept
        else:
            self._promises.pop(namespace, None)
        return stored.values()


def build(context: Context) -> Plugin:
    """Make the plugin."""
    return Plugin("ResourceQuota", frozenset({CREATE, UPDATE}), validate=_Evaluator(context).validate)


def _is_handled(request: AdmissionRequest, resource: str) -> bool:
    if resource in _IGNORED:
        return False
    if request.subresource:
        return request.target == "pods/resize" and request.operation == UPDATE
    return request.operation == CREATE or resource in _UPDATED


def _show(keys: Iterable[str], found: Mapping[str, int], hard: Mapping[str, object]) -> str:
    return ",".join(f"{key}={amounts.format_like(found.get(key, 0), str(hard[key]))}" for key in keys)
