"""The parameters of an admission policy: the objects that a binding names or selects.

Source: CollectParams in k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api.scheme import Resource
from knarr.apiserver.admission.chain import AdmissionRequest, Context
from knarr.apiserver.admission.matching import compile_selector, namespace_of

Object = dict[str, Any]


class Misconfigured(Exception):
    """Raised when a policy or a binding makes no sense for a request: the failure policy decides; the message says why."""


def find_kind(context: Context, kind: Mapping[str, Any] | None) -> Resource | None:
    """Return the resource of a paramKind; None if there is no paramKind.

    Raises:
        Misconfigured: nothing of that kind is served.
    """
    if kind is None:
        return None
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    found = context.registry.scheme.find_kind(api_version, name)
    if found is None or not found.is_stored:
        shown = api_version if "/" in api_version else f"/{api_version}"
        raise Misconfigured(f"failed to find resource referenced by paramKind: '{shown}, Kind={name}'")
    return found


async def collect(
    context: Context, request: AdmissionRequest, kind: Resource | None, reference: Mapping[str, Any] | None
) -> list[Object | None]:
    """Return the parameters with which a policy is judged, once each; [None] if it has none, [] if it is not to be judged.

    Args:
        context: Has the objects.
        request: Tells the namespace, where the binding does not.
        kind: Of the parameters.
        reference: The binding's paramRef.

    Raises:
        Misconfigured: the reference makes no sense, or leads nowhere and that is to be refused.
    """
    if kind is None or reference is None:
        return [None]
    namespace = _namespace(request, kind, reference)
    name, selector = reference.get("name") or "", reference.get("selector")
    found: list[Object]
    if name:
        one = context.registry.get(kind, namespace, name)
        found = [] if one is None else [one]
    elif selector is not None:
        compiled = compile_selector(selector)
        listed = context.registry.list(kind, namespace)
        found = [one for one in listed if compiled.matches((one.get("metadata") or {}).get("labels") or {})]
    else:
        raise Misconfigured("one of name or selector must be provided")
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [await context.shapes.convert(one, kind) for one in found]


def _namespace(request: AdmissionRequest, kind: Resource, reference: Mapping[str, Any]) -> str:
    given: str = reference.get("namespace") or ""
    if not kind.namespaced:
        if given:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    found = given or namespace_of(request)
    if not found:
        raise Misconfigured("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    return found
