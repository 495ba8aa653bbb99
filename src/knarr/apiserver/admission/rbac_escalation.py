"""Nobody gives away permissions that he does not have, unless he may escalate or bind the role.

In upstream this is no admission plugin but part of the storage of roles and bindings; it runs at the same moment.

Upstream counterpart: pkg/registry/rbac/{escalation_check.go,*/policybased} and pkg/registry/rbac/validation (v1.37).
"""

from knarr.api.user import MASTERS, User
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.authz.policy import GROUP
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from knarr.apiserver.authz.rules import Rule, compact, format_list, uncovered
from knarr.apiserver.requestinfo import RequestInfo

_EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",)))


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def is_authorized(user: User, verb: str, resource: str, namespace: str, name: str) -> bool:
        info = RequestInfo(
            is_resource_request=True,
            path="",
            verb=verb,
            group=GROUP,
            version="*",
            namespace=namespace,
            resource=resource,
            name=name,
        )
        return (await context.authorizer.decide(user, info)).allowed

    def confirm(request: AdmissionRequest, rules: list[Rule] | tuple[Rule, ...]) -> None:
        owned, problems = context.authorizer.grants.policy_rules(request.user, request.namespace)
        missing = uncovered(owned, rules)
        if missing:
            raise request.forbidden(describe(request.user, missing, problems))

    async def check_role(request: AdmissionRequest, obj: Object) -> None:
        # Of an object to be created only apply says the name in the request.
        is_named = request.operation == UPDATE or request.options.get("kind") == "PatchOptions"
        name = request.name if is_named else ""
        if await is_authorized(request.user, "escalate", request.resource.plural, request.namespace, name):
            return
        # Rules that stay as they are count too: a new label may let another role gather them.
        confirm(request, [Rule.read(rule) for rule in obj.get("rules") or ()])
        if any(((one or {}).get("aggregationRule") or {}).get("clusterRoleSelectors") for one in (obj, request.old)):
            owned, _ = context.authorizer.grants.policy_rules(request.user, "")
            if uncovered(owned, _EVERYTHING):
                raise request.forbidden("must have cluster-admin privileges to use the aggregationRule")

    async def check_binding(request: AdmissionRequest, obj: Object) -> None:
        role = obj["roleRef"]
        resource = "roles" if role.get("kind") == "Role" else "clusterroles"
        if await is_authorized(request.user, "bind", resource, request.namespace, role.get("name") or ""):
            return
        confirm(request, context.authorizer.grants.rules_of(role, request.namespace))

    async def validate(request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None or MASTERS in request.user.groups or _is_only_collected(request):
            return
        if request.target in (ROLES, CLUSTER_ROLES):
            await check_role(request, obj)
        else:
            await check_binding(request, obj)

    targets = frozenset({ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS})
    return Plugin("RBACEscalation", frozenset({CREATE, UPDATE}), targets, validate=validate)


def describe(user: User, missing: list[Rule], problems: list[str]) -> str:
    """Word the refusal as upstream does."""
    words = f'user "{user.name}" (groups={format_list(user.groups)}) is attempting to grant RBAC permissions not '
    words += "currently held:\n" + "\n".join(str(rule) for rule in compact(missing))
    if problems:
        words += f"; resolution errors: [{', '.join(problems)}]"
    return words


def _is_only_collected(request: AdmissionRequest) -> bool:
    """Return whether an update changes nothing but what the garbage collector changes."""
    if request.operation != UPDATE or request.object is None or request.old is None:
        return False

    def rest(obj: Object) -> Object:
        ignored = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")
        metadata = {key: value for key, value in obj["metadata"].items() if key not in ignored}
        return {**obj, "metadata": metadata}

    return rest(request.object) == rest(request.old)
