from typing import Any

import pytest

from knarr.apiserver.admission import pod_security
from knarr.apiserver.admission.chain import CREATE, UPDATE
from knarr.apiserver.admission.pod_security_checks import evaluate
from tests.apiserver.admission.plugins import open_bench, pod

Object = dict[str, Any]
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
RESTRICTED_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def secured(context: Object | None, **spec: Any) -> Object:
    spec["containers"] = [{"name": "c", "securityContext": context or {}}]
    return spec


BASELINE: list[tuple[Object, str]] = [
    (secured(None), ""),
    (secured({"privileged": True}), 'privileged (container "c" must not set securityContext.privileged=true)'),
    (secured(None, hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
    (
        secured(None, volumes=[{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]),
        'hostPath volumes (volumes "v", "w")',
    ),
    (
        {"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 81}]}]},
        'hostPort (containers "a", "b" use hostPorts 80, 81)',
    ),
    (
        secured({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}),
        'non-default capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)',
    ),
    (
        secured({"procMount": "Unmasked"}),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        secured({"seLinuxOptions": {"type": "spc_t", "user": "x"}}),
        'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)',
    ),
    (
        secured(None, securityContext={"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]},
        'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")',
    ),
    (
        secured({"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")',
    ),
    (secured(None, securityContext={"sysctls": [{"name": "kernel.x"}]}), "forbidden sysctls (kernel.x)"),
]
RESTRICTED: list[tuple[Object, str]] = [
    (secured(RESTRICTED_CONTAINER, securityContext=RESTRICTED_POD), ""),
    (
        secured(None),
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ),
    (
        secured(RESTRICTED_CONTAINER, securityContext=RESTRICTED_POD, volumes=[{"name": "v", "hostPath": {}}]),
        'restricted volume types (volume "v" uses restricted volume type "hostPath")',
    ),
    (
        secured(RESTRICTED_CONTAINER, securityContext={**RESTRICTED_POD, "runAsUser": 0}),
        "runAsUser=0 (pod must not set runAsUser=0)",
    ),
    (
        secured({**RESTRICTED_CONTAINER, "runAsNonRoot": False}, securityContext=RESTRICTED_POD),
        'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)',
    ),
]


@pytest.mark.parametrize(("spec", "problem"), BASELINE)
def test_baseline(spec: Object, problem: str) -> None:
    assert ", ".join(evaluate("baseline", spec, {})) == problem
    assert evaluate("privileged", spec, {}) == []


@pytest.mark.parametrize(("spec", "problem"), RESTRICTED)
def test_restricted(spec: Object, problem: str) -> None:
    assert ", ".join(evaluate("restricted", spec, {})) == problem


def test_older_standards_ask_for_less() -> None:
    probing = {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}
    assert evaluate("baseline", probing, {}, minor=33) == []
    old = [
        problem.partition(" (")[0]
        for problem in evaluate("restricted", secured({"capabilities": {"add": ["X"]}}), {}, minor=18)
    ]
    assert old == ["non-default capabilities", "allowPrivilegeEscalation != false", "runAsNonRoot != true"]


OWN_USERS: Object = {"hostUsers": False}
ROOT = {**RESTRICTED_CONTAINER, "runAsNonRoot": False, "runAsUser": 0}


@pytest.mark.parametrize(
    ("level", "spec", "since"),
    [
        # What a version of the standards allows first.
        ("baseline", secured(None, securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies"}]}), 0),
        ("baseline", secured(None, securityContext={"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}), 27),
        ("baseline", secured(None, securityContext={"sysctls": [{"name": "net.ipv4.tcp_keepalive_time"}]}), 29),
        ("baseline", secured(None, securityContext={"sysctls": [{"name": "net.ipv4.tcp_wmem"}]}), 32),
        ("baseline", secured(None, securityContext={"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat"}]}), 37),
        ("baseline", secured({"seLinuxOptions": {"type": "container_t"}}), 0),
        ("baseline", secured({"seLinuxOptions": {"type": "container_engine_t"}}), 31),
        ("baseline", secured({"procMount": "Unmasked"}, **OWN_USERS), 35),
        ("restricted", secured(ROOT, securityContext={"seccompProfile": {"type": "RuntimeDefault"}}, **OWN_USERS), 35),
        ("restricted", secured(RESTRICTED_CONTAINER, securityContext=RESTRICTED_POD,
                               volumes=[{"name": "v", "image": {"reference": "r"}}]), 0),
    ],
)  # fmt: skip
def test_versions_that_allow_more(level: str, spec: Object, since: int) -> None:
    assert evaluate(level, spec, {}) == []
    assert evaluate(level, spec, {}, minor=since) == []
    if since:
        assert len(evaluate(level, spec, {}, minor=since - 1)) > 0


def test_users_of_their_own_do_not_relax_all() -> None:
    unmasked = secured({**RESTRICTED_CONTAINER, "procMount": "Unmasked"}, securityContext=RESTRICTED_POD, **OWN_USERS)
    assert [one.partition(" (")[0] for one in evaluate("restricted", unmasked, {})] == ["procMount"]


def test_a_pod_must_not_say_root_even_if_its_containers_do_not() -> None:
    spec = secured(
        {**RESTRICTED_CONTAINER, "runAsNonRoot": True}, securityContext={**RESTRICTED_POD, "runAsNonRoot": False}
    )
    assert evaluate("restricted", spec, {}) == [
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    ]


def labels(**levels: str) -> Object:
    return {"labels": {f"{pod_security.PREFIX}{mode}": level for mode, level in levels.items()}}


async def test_enforce_refuses_and_warn_warns() -> None:
    async with open_bench(pod_security.build) as bench:
        await bench.add("namespaces", "ns", metadata=labels(enforce="baseline", warn="restricted"))
        assert await bench.create("pods", pod(hostNetwork=True)) == (
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
        )
        request = bench.request(CREATE, "pods", pod())
        assert await bench.run(request) == ""
        (warning,) = request.warnings
        assert warning.startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (')


async def test_controllers_are_only_warned() -> None:
    async with open_bench(pod_security.build) as bench:
        await bench.add("namespaces", "ns", metadata=labels(enforce="baseline", warn="baseline"))
        spec = {"template": {"spec": pod(hostNetwork=True)["spec"]}}
        request = bench.request(CREATE, "deployments.apps", {"metadata": {"name": "d"}, "spec": spec})
        assert await bench.run(request) == ""
        assert request.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)']


async def test_updates_that_change_nothing_of_interest_pass() -> None:
    async with open_bench(pod_security.build) as bench:
        await bench.add("namespaces", "ns", metadata=labels(enforce="baseline"))
        old = pod(hostNetwork=True)
        assert await bench.update("pods", pod(hostNetwork=True), old) == ""
        changed = pod("p", {"name": "c", "image": "other"}, hostNetwork=True)
        assert "violates PodSecurity" in await bench.update("pods", changed, old)


async def test_labels_of_namespaces() -> None:
    async with open_bench(pod_security.build) as bench:
        bad = {"metadata": {"name": "ns", **labels(enforce="strict")}}
        assert await bench.create("namespaces", bad) == (
            'Namespace "ns" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be '
            "one of privileged, baseline, restricted"
        )
        for name in ("a", "b"):
            await bench.registry.create("pods", pod(name, hostNetwork=True))
        new = {"metadata": {"name": "ns", **labels(enforce="baseline")}}
        request = bench.request(UPDATE, "namespaces", new, {"metadata": {"name": "ns"}})
        assert await bench.run(request) == ""
        assert request.warnings == [
            'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
            "a (and 1 other pod): host namespaces",
        ]
