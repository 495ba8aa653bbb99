"""Audit policies: which rule fits, and files that cannot be used."""

from pathlib import Path

import pytest

from knarr.api.user import User
from knarr.apiserver.audit import errors, policy
from knarr.apiserver.requestinfo import parse

JANE = User("jane", ("devs",))

FITS = [
    ("{level: Metadata}", JANE, "GET", "/version", True),
    ("{level: Metadata, users: [jane]}", JANE, "GET", "/version", True),
    ("{level: Metadata, users: [joe]}", JANE, "GET", "/version", False),
    ("{level: Metadata, users: [jane]}", None, "GET", "/version", False),
    ("{level: Metadata, userGroups: [ops, devs]}", JANE, "GET", "/version", True),
    ("{level: Metadata, userGroups: [ops]}", JANE, "GET", "/version", False),
    ("{level: Metadata, verbs: [list]}", JANE, "GET", "/api/v1/pods", True),
    ("{level: Metadata, verbs: [watch]}", JANE, "GET", "/api/v1/pods", False),
    ("{level: Metadata, nonResourceURLs: [/healthz*]}", JANE, "GET", "/healthz/ping", True),
    ("{level: Metadata, nonResourceURLs: [/healthz]}", JANE, "GET", "/healthz/ping", False),
    ("{level: Metadata, nonResourceURLs: ['*']}", JANE, "GET", "/api/v1/pods", False),
    ("{level: Metadata, namespaces: [kube-system]}", JANE, "GET", "/api/v1/namespaces/kube-system/pods", True),
    ("{level: Metadata, namespaces: ['']}", JANE, "GET", "/api/v1/nodes", True),
    ("{level: Metadata, namespaces: ['']}", JANE, "GET", "/version", False),
    ("{level: Metadata, resources: [{group: ''}]}", JANE, "GET", "/api/v1/nodes", True),
    ("{level: Metadata, resources: [{group: apps}]}", JANE, "GET", "/api/v1/nodes", False),
    ("{level: Metadata, resources: [{group: '*', resources: [nodes]}]}", JANE, "GET", "/api/v1/nodes/a/status", False),
    ("{level: Metadata, resources: [{resources: [nodes/*]}]}", JANE, "GET", "/api/v1/nodes/a/status", True),
    ("{level: Metadata, resources: [{resources: ['*/status']}]}", JANE, "GET", "/api/v1/nodes/a/status", True),
    ("{level: Metadata, resources: [{resources: [nodes], resourceNames: [b]}]}", JANE, "GET", "/api/v1/nodes/a", False),
    ("{level: Metadata, resources: [{resources: [nodes], resourceNames: [a]}]}", JANE, "GET", "/api/v1/nodes/a", True),
]


def write(folder: Path, rules: str, more: str = "") -> Path:
    path = folder / "policy.yaml"
    path.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rules}]\n{more}")
    return path


@pytest.mark.parametrize(("rule", "user", "method", "path", "fits"), FITS)
def test_which_requests_a_rule_is_about(
    tmp_path: Path, rule: str, user: User | None, method: str, path: str, fits: bool
) -> None:
    found = policy.load(write(tmp_path, rule)).choose(user, parse(method, path))
    assert (found.level == policy.METADATA) == fits


def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    rules = "{level: None, users: [jane]}, {level: Request, omitStages: [Panic], omitManagedFields: false}"
    found = policy.load(write(tmp_path, rules, "omitStages: [RequestReceived]\nomitManagedFields: true\n"))
    assert found.choose(JANE, parse("GET", "/version")).level == policy.NONE
    other = found.choose(User("joe", ()), parse("GET", "/version"))
    assert other == policy.Choice("Request", frozenset({"RequestReceived", "Panic"}), False)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("", "illegal policy with 0 rules"),
        ("{level: Loud}", "rules[0].level: Unsupported value"),
        ("{}", "rules[0].level: Required value"),
        ("{level: None, omitStages: [Now]}", "allowed stages are"),
        ("{level: None, nonResourceURLs: [a]}", "must begin with a '/'"),
        ("{level: None, nonResourceURLs: ['/a*b']}", "must be the final character"),
        ("{level: None, nonResourceURLs: [/a], namespaces: [b]}", "cannot apply to both"),
        ("{level: None, resources: [{resourceNames: [a]}]}", "requires at least one resource"),
        ("{level: None, resources: [{resources: ['*', pods]}]}", "must be the only resource"),
        ("{level: None, users: jane}", "expected a list"),
        ("[]", "failed decoding"),
    ],
)
def test_policies_that_are_none(tmp_path: Path, rules: str, words: str) -> None:
    with pytest.raises(errors.BadPolicy) as caught:
        policy.load(write(tmp_path, rules))
    assert words in str(caught.value)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(errors.BadPolicy, match="No such file"):
        policy.load(path)
    path.write_text("kind: Pod\napiVersion: v1\n")
    with pytest.raises(errors.BadPolicy, match="expected kind Policy"):
        policy.load(path)
