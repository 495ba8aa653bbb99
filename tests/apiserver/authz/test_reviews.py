"""Access reviews: answers, and what is wrong with a question."""

from typing import Any

import pytest

from knarr.api import errors
from knarr.apiserver.authz import bootstrap, reviews
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.authz.rbac import Rbac
from knarr.kit.clock import FakeClock
from tests.apiserver.access import open_registry, user

PODS = {"verb": "list", "resource": "pods", "namespace": "ns"}

ANSWERS: list[tuple[str, dict[str, Any], bool]] = [
    ("subjectaccessreviews", {"user": "system:kube-scheduler", "resourceAttributes": PODS}, True),
    ("subjectaccessreviews", {"user": "x", "groups": ["system:masters"], "resourceAttributes": PODS}, True),
    ("subjectaccessreviews", {"user": "x", "resourceAttributes": PODS}, False),
    ("selfsubjectaccessreviews", {"nonResourceAttributes": {"path": "/apis", "verb": "get"}}, True),
    ("selfsubjectaccessreviews", {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}, False),
    ("localsubjectaccessreviews", {"user": "system:kube-scheduler", "resourceAttributes": PODS}, True),
]

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    (
        "subjectaccessreviews",
        {"user": "x"},
        'SubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of '
        "nonResourceAttributes or resourceAttributes must be specified",
    ),
    (
        "subjectaccessreviews",
        {"resourceAttributes": PODS},
        'SubjectAccessReview.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group '
        "must be specified",
    ),
    (
        "localsubjectaccessreviews",
        {"user": "x", "resourceAttributes": {**PODS, "namespace": "other"}},
        "spec.resourceAttributes.namespace must match namespace: other",
    ),
    ("selfsubjectrulesreviews", {}, "no namespace on request"),
]


async def test_answers() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        rbac = Rbac(registry)
        await bootstrap.reconcile(registry, now=clock.now())
        authorizer = Authorizer((rbac,), rbac)
        for resource, spec, expected in ANSWERS:
            namespace = "ns" if resource.startswith("local") else ""
            review = await reviews.review(authorizer, resource, namespace, {"spec": spec}, user("ann"))
            assert review["status"]["allowed"] is expected, (resource, spec)


@pytest.mark.parametrize(("resource", "spec", "message"), REFUSALS)
async def test_refusals(resource: str, spec: dict[str, Any], message: str) -> None:
    async with open_registry(FakeClock()) as registry:
        rbac = Rbac(registry)
        authorizer = Authorizer((rbac,), rbac)
        with pytest.raises(errors.StatusError) as caught:
            await reviews.review(authorizer, resource, "ns", {"spec": spec}, user("ann"))
        assert caught.value.message == message


async def test_rules_of_everybody() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        rbac = Rbac(registry)
        await bootstrap.reconcile(registry, now=clock.now())
        authorizer = Authorizer((rbac,), rbac)
        review = await reviews.review(
            authorizer, "selfsubjectrulesreviews", "", {"spec": {"namespace": "ns"}}, user("ann")
        )
        status = review["status"]
        assert not status["incomplete"]
        listed = {resource for rule in status["resourceRules"] for resource in rule["resources"]}
        assert "selfsubjectrulesreviews" in listed
        assert any("/apis/*" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
