"""The FlowSchemas and PriorityLevelConfigurations that every cluster has: mandatory ones, and those that upstream suggests.

Source: k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go (v1.37): the numbers and who belongs where.
"""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

GROUP = "flowcontrol.apiserver.k8s.io"
SCHEMAS = f"flowschemas.{GROUP}"
LEVELS = f"prioritylevelconfigurations.{GROUP}"
API_VERSION = f"{GROUP}/v1"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
EXEMPT, CATCH_ALL = "exempt", "catch-all"
BY_USER, BY_NAMESPACE = "ByUser", "ByNamespace"


def _metadata(name: str) -> Object:
    return {"name": name, "annotations": {AUTO_UPDATE: "true"}}


def _level(name: str, shares: int, lendable: int, queues: tuple[int, int] | None) -> Object:
    response: Object = {"type": "Reject"}
    if queues is not None:
        queuing = {"queues": queues[0], "handSize": queues[1], "queueLengthLimit": 50}
        response = {"type": "Queue", "queuing": queuing}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
    return {"metadata": _metadata(name), "spec": {"type": "Limited", "limited": limited}}


def _exempt() -> Object:
    exempt = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    return {"metadata": _metadata(EXEMPT), "spec": {"type": "Exempt", "exempt": exempt}}


def _schema(name: str, level: str, precedence: int, method: str, subjects: Sequence[Object], **rules: Any) -> Object:
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": list(subjects), **rules}],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    return {"metadata": _metadata(name), "spec": spec}


def _groups(*names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Object]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _resources(verbs: Sequence[str], group: str, resources: Sequence[str], *, cluster: bool) -> Object:
    rule: Object = {
        "verbs": list(verbs),
        "apiGroups": [group],
        "resources": list(resources),
        "namespaces": ["*"],
    }
    return {**rule, "clusterScope": True} if cluster else rule


_EVERYTHING: dict[str, list[Object]] = {
    "resourceRules": [_resources(["*"], "*", ["*"], cluster=True)],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_KUBE_SYSTEM = [{"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}}]
_EVERYBODY = ("system:unauthenticated", "system:authenticated")
_MANAGER, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_LEASES = "coordination.k8s.io"

MANDATORY_LEVELS = (_exempt(), _level(CATCH_ALL, 5, 0, None))
SUGGESTED_LEVELS = (
    _level("system", 30, 33, (64, 6)),
    _level("node-high", 40, 25, (64, 6)),
    _level("leader-election", 10, 0, (16, 4)),
    _level("workload-high", 40, 50, (128, 6)),
    _level("workload-low", 100, 90, (128, 6)),
    _level("global-default", 20, 50, (128, 6)),
)
MANDATORY_SCHEMAS = (
    _schema("exempt", EXEMPT, 1, "", _groups("system:masters"), **_EVERYTHING),
    _schema(CATCH_ALL, CATCH_ALL, 10_000, BY_USER, _groups(*_EVERYBODY), **_EVERYTHING),
)
SUGGESTED_SCHEMAS = (
    _schema(
        "probes", EXEMPT, 2, "", _groups(*_EVERYBODY),
        nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    ),
    _schema(
        "system-leader-election", "leader-election", 100, BY_USER, [*_users(_MANAGER, _SCHEDULER), *_KUBE_SYSTEM],
        resourceRules=[_resources(["get", "create", "update"], _LEASES, ["leases"], cluster=False)],
    ),
    _schema(
        "system-node-high", "node-high", 400, BY_USER, _groups("system:nodes"),
        resourceRules=[
            _resources(["*"], "", ["nodes", "nodes/status"], cluster=True),
            _resources(["*"], _LEASES, ["leases"], cluster=False),
        ],
    ),
    _schema("system-nodes", "system", 500, BY_USER, _groups("system:nodes"), **_EVERYTHING),
    _schema("kube-controller-manager", "workload-high", 800, BY_NAMESPACE, _users(_MANAGER), **_EVERYTHING),
    _schema("kube-scheduler", "workload-high", 800, BY_NAMESPACE, _users(_SCHEDULER), **_EVERYTHING),
    _schema("kube-system-service-accounts", "workload-high", 900, BY_NAMESPACE, _KUBE_SYSTEM, **_EVERYTHING),
    _schema("service-accounts", "workload-low", 9000, BY_USER, _groups("system:serviceaccounts"), **_EVERYTHING),
    _schema("global-default", "global-default", 9900, BY_USER, _groups(*_EVERYBODY), **_EVERYTHING),
)  # fmt: skip
