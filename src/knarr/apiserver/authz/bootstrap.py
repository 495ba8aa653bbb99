"""Gives a cluster the roles and bindings that every cluster has, and completes those that lack something.

What somebody added stays, what somebody took away comes back, unless the object's annotation
rbac.authorization.kubernetes.io/autoupdate says "false".

Upstream counterpart: pkg/registry/rbac/rest/storage_rbac.go and component-helpers/auth/rbac/reconciliation (v1.37).
"""

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from knarr.api import errors
from knarr.apiserver.authz import policy_controllers, policy_users
from knarr.apiserver.authz.policy import AUTO_UPDATE
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from knarr.apiserver.authz.rules import Rule, compact, uncovered
from knarr.apiserver.registry import Registry

POLICIES = (policy_users.POLICY, policy_controllers.POLICY)
_ATTEMPTS = 5

Object = dict[str, Any]


async def reconcile(registry: Registry, *, now: datetime) -> None:
    """Create what is missing, and complete what is there.

    Args:
        registry: Where roles and bindings are.
        now: Becomes the creation time.
    """
    # Side by side: a durable store writes them all with a few commits.
    async with asyncio.TaskGroup() as group:
        for policy in POLICIES:
            for role in policy.roles:
                resource = ROLES if role.namespace else CLUSTER_ROLES
                group.create_task(_ensure(registry, resource, role.to_object(), plan_role, now))
            for binding in policy.bindings:
                resource = ROLE_BINDINGS if binding.namespace else CLUSTER_ROLE_BINDINGS
                group.create_task(_ensure(registry, resource, binding.to_object(), plan_binding, now))


def plan_role(current: Object, wanted: Object) -> Object | None:
    """Return the role with all that it lacks, or None if it lacks nothing."""
    changed = _plan_metadata(current, wanted)
    if wanted.get("aggregationRule"):
        selectors = list((current.get("aggregationRule") or {}).get("clusterRoleSelectors") or ())
        missing = [one for one in wanted["aggregationRule"]["clusterRoleSelectors"] if one not in selectors]
        if not missing:
            return changed
        return {**(changed or current), "aggregationRule": {"clusterRoleSelectors": [*selectors, *missing]}}
    owned = [Rule.read(rule) for rule in current.get("rules") or ()]
    lacking = compact(uncovered(owned, [Rule.read(rule) for rule in wanted["rules"]]))
    if not lacking:
        return changed
    return {**(changed or current), "rules": [*(current.get("rules") or ()), *(rule.to_object() for rule in lacking)]}


def plan_binding(current: Object, wanted: Object) -> Object | None:
    """Return the binding with all subjects that it lacks, or None if it lacks nothing.

    A binding of another role is left as it is.
    """
    changed = _plan_metadata(current, wanted)
    subjects = current.get("subjects") or []
    missing = [subject for subject in wanted.get("subjects") or () if subject not in subjects]
    if current["roleRef"] != wanted["roleRef"]:
        return None
    return {**(changed or current), "subjects": [*subjects, *missing]} if missing else changed


def _plan_metadata(current: Object, wanted: Object) -> Object | None:
    # What the object says already wins over what the table says.
    metadata = dict(current["metadata"])
    for field in ("labels", "annotations"):
        metadata[field] = {**wanted["metadata"][field], **(metadata.get(field) or {})}
    return None if metadata == current["metadata"] else {**current, "metadata": metadata}


async def _ensure(
    registry: Registry, resource: str, wanted: Object, plan: Callable[[Object, Object], Object | None], now: datetime
) -> None:
    namespace, name = wanted["metadata"].get("namespace", ""), wanted["metadata"]["name"]
    for _ in range(_ATTEMPTS):
        current = registry.get(resource, namespace, name)
        try:
            if current is None:
                await registry.create(resource, _new(wanted, now))
                return
            if (current["metadata"].get("annotations") or {}).get(AUTO_UPDATE) == "false":
                return
            changed = plan(current, wanted)
            if changed is not None:
                await registry.update(resource, changed)
        except (errors.AlreadyExists, errors.NotFound, errors.Conflict):
            continue  # another API server does the same right now
        return


def _new(wanted: Object, now: datetime) -> Object:
    metadata = {
        **wanted["metadata"],
        "uid": str(uuid.uuid4()),
        "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {**wanted, "metadata": metadata}
