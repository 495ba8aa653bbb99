"""May somebody do something: SubjectAccessReview and its three siblings.

Upstream counterpart: pkg/registry/authorization and pkg/apis/authorization/validation (v1.37).
"""

from typing import Any

from knarr.api import errors
from knarr.api.field import FieldError, Path, invalid, required
from knarr.api.user import User
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.requestinfo import RequestInfo

GROUP = "authorization.k8s.io"
_KINDS = {
    "subjectaccessreviews": "SubjectAccessReview",
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
    "localsubjectaccessreviews": "LocalSubjectAccessReview",
    "selfsubjectrulesreviews": "SelfSubjectRulesReview",
}

Object = dict[str, Any]


async def review(authorizer: Authorizer, resource: str, namespace: str, obj: Object, user: User) -> Object:
    """Answer a review.

    Args:
        authorizer: Decides.
        resource: The plural of the review's kind.
        namespace: Of the request; only a local review has one.
        obj: The review; it is changed.
        user: Who asks.

    Returns:
        The review with its status.

    Raises:
        Invalid: The review asks nothing, or two things.
        BadRequest: A rules review is about no namespace, or a local review about another one.
    """
    if resource == "selfsubjectrulesreviews":
        return _review_rules(authorizer, obj, user)
    spec = obj.get("spec") or {}
    problems = _check(spec, is_self=resource == "selfsubjectaccessreviews")
    if resource == "localsubjectaccessreviews":
        problems += _check_local(spec, obj)
    problems += _check_metadata(obj, is_local=resource == "localsubjectaccessreviews")
    if problems:
        raise errors.Invalid(GROUP, _KINDS[resource], "", problems)
    attributes = spec.get("resourceAttributes") or {}
    if resource == "localsubjectaccessreviews" and attributes.get("namespace", "") != namespace:
        raise errors.BadRequest(
            f"spec.resourceAttributes.namespace must match namespace: {attributes.get('namespace', '')}"
        )
    subject = user if resource == "selfsubjectaccessreviews" else _subject(spec)
    decision = await authorizer.decide(subject, to_info(spec))
    status: Object = {"allowed": decision.allowed}
    if decision.denied:
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    obj["status"] = status
    return obj


def to_info(spec: Object) -> RequestInfo:
    """Return the request that a review asks about."""
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return RequestInfo(False, path.get("path") or "", path.get("verb") or "")
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb=asked.get("verb") or "",
        group=asked.get("group") or "",
        version=asked.get("version") or "*",
        namespace=asked.get("namespace") or "",
        resource=asked.get("resource") or "",
        subresource=asked.get("subresource") or "",
        name=asked.get("name") or "",
        field_selector=_field_selector(asked.get("fieldSelector") or {}),
    )


def _field_selector(selector: Object) -> str:
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    listed = selector.get("requirements") or ()
    return ",".join(
        f"{one['key']}={one['values'][0]}"
        for one in listed
        if one.get("operator") == "In" and len(one.get("values") or ()) == 1
    )


def _review_rules(authorizer: Authorizer, obj: Object, user: User) -> Object:
    namespace = (obj.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise errors.BadRequest("no namespace on request")
    rules = authorizer.rules_for(user, namespace)
    obj["status"] = {
        "resourceRules": list(rules.resource_rules),
        "nonResourceRules": list(rules.non_resource_rules),
        "incomplete": rules.incomplete,
    }
    if rules.error:
        obj["status"]["evaluationError"] = rules.error
    return obj


def _subject(spec: Object) -> User:
    extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra)


def _check(spec: Object, *, is_self: bool) -> list[FieldError]:
    path = Path("spec")
    asked, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    problems = []
    if asked is not None and other is not None:
        words = "cannot be specified in combination with resourceAttributes"
        problems.append(invalid(path.child("nonResourceAttributes"), other, words))
    elif asked is None and other is None:
        words = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        problems.append(invalid(path.child("resourceAttributes"), asked, words))
    if not is_self and not spec.get("user") and not spec.get("groups"):
        words = "at least one of user or group must be specified"
        problems.append(invalid(path.child("user"), spec.get("user") or "", words))
    return problems + _check_selectors(asked or {}, path.child("resourceAttributes"))


def _check_selectors(asked: Object, path: Path) -> list[FieldError]:
    problems = []
    for field in ("fieldSelector", "labelSelector"):
        selector = asked.get(field)
        if selector is None:
            continue
        here = path.child(field)
        if selector.get("rawSelector") and selector.get("requirements"):
            words = "may not specified at the same time as requirements"
            problems.append(invalid(here.child("rawSelector"), selector["rawSelector"], words))
        elif not selector.get("rawSelector") and not selector.get("requirements"):
            words = f"when {here} is specified, requirements or rawSelector is required"
            problems.append(required(here.child("requirements"), words))
    return problems


def _check_local(spec: Object, obj: Object) -> list[FieldError]:
    if spec.get("nonResourceAttributes") is None:
        return []
    words = "disallowed on this kind of request"
    return [invalid(Path("spec.nonResourceAttributes"), spec["nonResourceAttributes"], words)]


def _check_metadata(obj: Object, *, is_local: bool) -> list[FieldError]:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if value}
    metadata.pop("managedFields", None)
    metadata.pop("creationTimestamp", None)
    if is_local:
        metadata.pop("namespace", None)
    if not metadata:
        return []
    words = "must be empty except for namespace" if is_local else "must be empty"
    return [invalid(Path("metadata"), metadata, words)]
