from typing import Any

import pytest

from knarr.node.pods.errors import ConfigFailed
from knarr.node.pods.security import container_security, sandbox_security
from knarr.node.runtime.runtime import Image, NamespaceMode, Profile, Security
from tests.node.pods.builders import pod

ROOT = Image("i", (), (), 1, uid=0)


def security(own: dict[str, Any], *, image: Image = ROOT, **spec: Any) -> Security:
    made = pod(containers=[{"name": "c", "securityContext": own}], **spec)
    return container_security(made, made.spec.containers[0], image, seccomp_root="/seccomp")  # type: ignore[union-attr]


def test_container_wins_over_pod_and_pod_over_image() -> None:
    assert security({"runAsUser": 5}, securityContext={"runAsUser": 7}).run_as_user == 5
    assert security({}, securityContext={"runAsUser": 7, "fsGroup": 9, "supplementalGroups": [8]}).run_as_user == 7
    assert security({}, image=Image("i", (), (), 1, uid=33)).run_as_user == 33
    named = security({}, image=Image("i", (), (), 1, username="www"))
    assert (named.run_as_user, named.run_as_username) == (None, "www")


def test_groups_of_the_pod_come_to_each_container() -> None:
    assert security({}, securityContext={"fsGroup": 9, "supplementalGroups": [8]}).supplemental_groups == (8, 9)


@pytest.mark.parametrize(
    ("own", "image", "message"),
    [
        ({"runAsNonRoot": True, "runAsUser": 0}, ROOT, "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": True}, ROOT, "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": True}, Image("i", (), (), 1, username="www"), "image has non-numeric user"),
    ],
)
def test_non_root_is_enforced(own: dict[str, Any], image: Image, message: str) -> None:
    with pytest.raises(ConfigFailed, match=message):
        security(own, image=image)


def test_privileged_is_unconfined_and_sees_all_of_proc() -> None:
    found = security({"privileged": True, "seccompProfile": {"type": "RuntimeDefault"}})
    assert (found.privileged, found.masked_paths, found.seccomp) == (True, (), Profile("Unconfined"))


def test_profiles() -> None:
    found = security({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}})
    assert found.seccomp == Profile("Localhost", "/seccomp/a.json")
    assert security({}, securityContext={"seccompProfile": {"type": "RuntimeDefault"}}).seccomp == Profile(
        "RuntimeDefault"
    )


def test_capabilities_and_escalation() -> None:
    found = security({"capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": False})
    assert (found.add_capabilities, found.drop_capabilities, found.no_new_privileges) == (
        ("NET_ADMIN",),
        ("ALL",),
        True,
    )


def test_namespaces() -> None:
    found = sandbox_security(pod(hostNetwork=True, hostPID=True, hostIPC=True), seccomp_root="").namespaces
    assert (found.network, found.pid, found.ipc) == (NamespaceMode.NODE,) * 3
    assert sandbox_security(pod(shareProcessNamespace=True), seccomp_root="").namespaces.pid is NamespaceMode.POD
