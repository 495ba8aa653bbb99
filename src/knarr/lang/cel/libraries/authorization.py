"""The authorizer of admission policies: may somebody do this? An expression builds the question, and `check` asks it.

Values carry what is asked as JSON. Whom to ask is given from outside, with `asking`, for as long as an expression runs: this package
knows no users and no roles.

Source: k8s.io/apiserver/pkg/cel/library/authz.go (v1.37).
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from knarr.lang.cel.libraries.function import Opaque, member

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        verb: What one wants to do.
        path: With a path that is no resource; otherwise empty.
        group, resource, subresource, namespace, name: Which resource.
        field_selector, label_selector: Which of its objects.
        service_account: (namespace, name) of the one on whose behalf; None for the user of the request.
    """

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None


Decide = Callable[[Question], tuple[bool, str]]
"""Returns whether it is allowed, and why."""
_decide: ContextVar[Decide | None] = ContextVar("decide", default=None)


@contextmanager
def asking(decide: Decide) -> Iterator[None]:
    """Let `decide` answer what expressions ask within the context."""
    token = _decide.set(decide)
    try:
        yield
    finally:
        _decide.reset(token)


def authorizer() -> Opaque:
    """Return the variable `authorizer`."""
    return Opaque("Authorizer", "{}")


def resource_check(group: str, resource: str, subresource: str, namespace: str, name: str) -> Opaque:
    """Return the variable `authorizer.requestResource`."""
    facts = {"group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    return Opaque("ResourceCheck", json.dumps(facts))


def _with(one: Opaque, type: str, **facts: Any) -> Opaque:
    return Opaque(type, json.dumps({**json.loads(one.text), **facts}))


def _path(one: Opaque, path: str) -> Opaque:
    if not path:
        raise ValueError("path must not be empty")
    return _with(one, "PathCheck", path=path)


def _service_account(one: Opaque, namespace: str, name: str) -> Opaque:
    if not _SUBDOMAIN.fullmatch(name) or len(name) > 253:
        raise ValueError(f"Invalid service account name: {name}")
    if not _LABEL.fullmatch(namespace) or len(namespace) > 63:
        raise ValueError(f"Invalid service account namespace: {namespace}")
    return _with(one, "Authorizer", service_account=[namespace, name])


def _narrow(field: str) -> Callable[[Opaque, str], Opaque]:
    return lambda one, value: _with(one, "ResourceCheck", **{field: value})


def _check(one: Opaque, verb: str) -> Opaque:
    decide = _decide.get()
    if decide is None:
        raise ValueError("there is no authorizer here")
    facts = json.loads(one.text)
    account = facts.pop("service_account", None)
    allowed, reason = decide(Question(verb, **facts, service_account=(account[0], account[1]) if account else None))
    return Opaque("Decision", json.dumps({"allowed": allowed, "reason": reason}))


def _told(field: str, absent: Any) -> Callable[[Opaque], Any]:
    return lambda one: json.loads(one.text).get(field, absent)


FUNCTIONS = (
    member("path", "authorizer_path", "Authorizer string", "PathCheck", _path),
    member(
        "group",
        "authorizer_group",
        "Authorizer string",
        "GroupCheck",
        lambda one, group: _with(one, "GroupCheck", group=group),
    ),
    member("serviceAccount", "authorizer_serviceaccount", "Authorizer string string", "Authorizer", _service_account),
    member("resource", "groupcheck_resource", "GroupCheck string", "ResourceCheck", _narrow("resource")),
    member("subresource", "resourcecheck_subresource", "ResourceCheck string", "ResourceCheck", _narrow("subresource")),
    member("namespace", "resourcecheck_namespace", "ResourceCheck string", "ResourceCheck", _narrow("namespace")),
    member("name", "resourcecheck_name", "ResourceCheck string", "ResourceCheck", _narrow("name")),
    member(
        "fieldSelector", "authorizer_fieldselector", "ResourceCheck string", "ResourceCheck", _narrow("field_selector")
    ),
    member(
        "labelSelector", "authorizer_labelselector", "ResourceCheck string", "ResourceCheck", _narrow("label_selector")
    ),
    member("check", "pathcheck_check", "PathCheck string", "Decision", _check),
    member("check", "resourcecheck_check", "ResourceCheck string", "Decision", _check),
    member("allowed", "decision_allowed", "Decision", "bool", _told("allowed", absent=False)),
    member("reason", "decision_reason", "Decision", "string", _told("reason", "")),
    member("errored", "decision_errored", "Decision", "bool", _told("errored", absent=False)),
    member("error", "decision_error", "Decision", "string", _told("error", "")),
)
