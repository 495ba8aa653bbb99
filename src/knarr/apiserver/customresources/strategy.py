"""What happens to a custom object, or a definition, on its way into the store.

Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy}.go (v1.37).
"""

from dataclasses import dataclass
from typing import Any

from knarr.apiserver.customresources.establishing import mark_deleted, stored_versions
from knarr.apiserver.strategies.strategy import Context, Strategy, bump_generation, has_status

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CustomStrategy(Strategy):
    """The rules of every custom kind."""

    def on_create(self, context: Context, obj: Object) -> None:
        """Take away the status, if it is written apart."""
        if has_status(context.target.stored):
            obj.pop("status", None)
        obj["metadata"]["generation"] = 1

    def on_update(self, context: Context, obj: Object, old: Object) -> None:
        """Keep the status, if it is written apart; count what else has changed besides metadata."""
        apart = {"metadata"}
        if has_status(context.target.stored):
            apart.add("status")
            if "status" in old:
                obj["status"] = old["status"]
            else:
                obj.pop("status", None)
        names = (obj.keys() | old.keys()) - apart
        if any(obj.get(name) != old.get(name) for name in names):
            bump_generation(obj)

    def on_status_update(self, context: Context, obj: Object, old: Object) -> None:
        """Keep everything but the status and the record of who owns what."""
        status, metadata = obj.get("status"), obj["metadata"]
        kept = dict(old["metadata"])
        for name in ("managedFields", "resourceVersion"):
            if name in metadata:
                kept[name] = metadata[name]
            else:
                kept.pop(name, None)
        has = "status" in obj
        obj.clear()
        obj.update(old)
        obj["metadata"] = kept
        obj.pop("status", None)
        if has:
            obj["status"] = status


def _create_definition(context: Context, crd: Object) -> None:
    crd["status"] = {"acceptedNames": {"kind": "", "plural": ""}, "storedVersions": stored_versions(crd)}


def _update_definition(context: Context, crd: Object, old: Object) -> None:
    crd["status"] = {**(crd.get("status") or {}), "storedVersions": stored_versions(crd)}


def _delete_definition(context: Context, crd: Object) -> None:
    mark_deleted(crd, context.parts.now())


DEFINITIONS = Strategy(
    prepare_create=_create_definition,
    prepare_update=_update_definition,
    prepare_delete=_delete_definition,
    has_generation=True,
    unconditional_update=False,
)
CUSTOM = CustomStrategy(has_generation=True, unconditional_update=False)
