"""What expressions see: the variables of a request and their types.

Source: BuildRequestType, BuildNamespaceType and createEnvForOpts in k8s.io/apiserver/pkg/admission/plugin/cel/compile.go (v1.37).
"""

from collections.abc import Mapping

from knarr.lang import cel
from knarr.lang.cel.declarations import BOOL, DYN, INT, STRING, TIMESTAMP, Decl

RESOURCE_CHECK = "authorizer.requestResource"


def _object(**fields: Decl) -> Decl:
    return Decl("object", fields, {name: name for name in fields})


_STRINGS = Decl("list", element=STRING)
_TEXTS = Decl("map", element=STRING)
_KIND = _object(group=STRING, version=STRING, kind=STRING)
_RESOURCE = _object(group=STRING, version=STRING, resource=STRING)
REQUEST = _object(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=_object(username=STRING, uid=STRING, groups=_STRINGS, extra=Decl("map", element=_STRINGS)),
    dryRun=BOOL,
    options=DYN,
)
NAMESPACE = _object(
    metadata=_object(
        name=STRING,
        generateName=STRING,
        namespace=STRING,
        labels=_TEXTS,
        annotations=_TEXTS,
        UID=STRING,
        creationTimestamp=TIMESTAMP,
        deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIMESTAMP,
        generation=INT,
        resourceVersion=STRING,
        finalizers=_STRINGS,
    ),
    spec=_object(finalizers=_STRINGS),
    status=_object(
        conditions=Decl(
            "list",
            element=_object(status=STRING, type=STRING, lastTransitionTime=TIMESTAMP, message=STRING, reason=STRING),
        ),
        phase=STRING,
    ),
)


def declare(
    *,
    has_params: bool,
    has_authorizer: bool,
    variables: Mapping[str, Decl] | None = None,
    obj: Decl = DYN,
    params: Decl = DYN,
) -> cel.Environment:
    """Return an environment.

    Args:
        has_params: Whether there is `params`.
        has_authorizer: Whether there is `authorizer`.
        variables: The types of the policy's own variables; None if it can have none.
        obj: The type of `object` and `oldObject`.
        params: The type of `params`.
    """
    found = {"object": obj, "oldObject": obj, "namespaceObject": NAMESPACE, "request": REQUEST}
    if has_params:
        found["params"] = params
    if has_authorizer:
        found["authorizer"] = Decl("opaque", opaque="Authorizer")
        found[RESOURCE_CHECK] = Decl("opaque", opaque="ResourceCheck")
    if variables is not None:
        found["variables"] = Decl("object", dict(variables), {name: name for name in variables})
    return cel.Environment(found)
