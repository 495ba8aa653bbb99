"""OwnerReferencesPermissionEnforcement: owners are set by who may delete, and held back by who may finalize them.

Upstream counterpart: plugin/pkg/admission/gc (v1.37). Off unless enabled, as upstream.
"""

from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.requestinfo import RequestInfo

_EXEMPT = frozenset({"pods/status"})


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def check(
        request: AdmissionRequest, verb: str, resource: str, group: str, *, subresource: str, name: str
    ) -> bool:
        info = RequestInfo(
            is_resource_request=True,
            path="",
            verb=verb,
            group=group,
            version="*",
            namespace=request.namespace,
            resource=resource,
            subresource=subresource,
            name=name,
        )
        return (await context.authorizer.decide(request.user, info)).allowed

    async def validate(request: AdmissionRequest) -> None:
        new, old = _owners(request.object), _owners(request.old)
        if request.target in _EXEMPT or new == old:
            return
        resource = request.resource
        if not await check(
            request, "delete", resource.plural, resource.group, subresource=request.subresource, name=request.name
        ):
            raise request.forbidden("cannot set an ownerRef on a resource you can't delete: , <nil>")
        blocking = {one.get("uid") for one in old if one.get("blockOwnerDeletion")}
        for owner in new:
            if not owner.get("blockOwnerDeletion") or owner.get("uid") in blocking:
                continue
            found = context.registry.scheme.find_kind(owner.get("apiVersion") or "", owner.get("kind") or "")
            if found is None:
                why = "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                why += f"{owner.get('apiVersion')} Kind {owner.get('kind')}"
                raise request.forbidden(why)
            name = owner.get("name") or ""
            if not await check(request, "update", found.plural, found.group, subresource="finalizers", name=name):
                raise request.forbidden(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers "
                    "on: , <nil>"
                )

    return Plugin("OwnerReferencesPermissionEnforcement", frozenset({CREATE, UPDATE}), validate=validate)


def _owners(obj: Object | None) -> list[Object]:
    return ((obj or {}).get("metadata") or {}).get("ownerReferences") or []
