"""A ClusterRole with an aggregation rule has the rules of all roles that the rule selects.

Upstream counterpart: pkg/controller/clusterroleaggregation (v1.37).
"""

from collections.abc import Iterable

from lightkube.models import rbac_v1
from msgspec.structs import replace

from knarr.control import Context, loop, selectors


def plan_rules(role: rbac_v1.ClusterRole, roles: Iterable[rbac_v1.ClusterRole]) -> list[rbac_v1.PolicyRule]:
    """Return the rules that an aggregating role should have.

    Args:
        role: It has an aggregation rule.
        roles: All there are; the role itself is never its own source.

    Returns:
        The rules of the selected roles, selector by selector and in the order of the roles' names, each once.
    """
    assert role.metadata is not None
    assert role.aggregationRule is not None
    others = [one for one in roles if one.metadata and one.metadata.name != role.metadata.name]
    others.sort(key=lambda one: (one.metadata and one.metadata.name) or "")
    rules: list[rbac_v1.PolicyRule] = []
    for selector in role.aggregationRule.clusterRoleSelectors or ():
        for other in others:
            if other.metadata and selectors.matches(selector, other.metadata.labels):
                rules += [rule for rule in other.rules or () if rule not in rules]
    return rules


class Reconciler:
    """Brings the rules of one aggregating role up to date.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informers.of(rbac_v1.ClusterRole)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the rules if they are not what they should be."""
        role = self._roles.get("", request.name)
        if role is None or role.aggregationRule is None:
            return loop.Result()
        rules = plan_rules(role, self._roles.list())
        if rules != (role.rules or []):
            await self._client.update(replace(role, rules=rules))
        return loop.Result()

    def aggregating(self, _: rbac_v1.ClusterRole) -> list[loop.Request]:
        """Return every role that a change of any role may concern: there are few."""
        return [
            loop.Request("", one.metadata.name or "")
            for one in self._roles.list()
            if one.aggregationRule is not None and one.metadata is not None
        ]


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("clusterrole-aggregation-controller", reconciler, context)
    controller.watch(rbac_v1.ClusterRole, reconciler.aggregating)
    return controller
