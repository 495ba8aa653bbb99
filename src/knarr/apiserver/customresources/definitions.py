"""A CustomResourceDefinition as the server works with it: one `Version` for each version, compiled when it is first needed.

Source: crdInfo in k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go (v1.37).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from knarr.api import structural
from knarr.api.schema import Type
from knarr.api.scheme import Resource, Subresource
from knarr.api.structural.cel import Rules

Object = dict[str, Any]

VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUB_VERBS = ("get", "patch", "update")
_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its values, as simple JSON paths such as ".spec.replicas"."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


class Version:
    """One version of a kind.

    Args:
        definition: The kind.
        raw: The entry of `spec.versions`.
        preserve_unknown: `spec.preserveUnknownFields`.

    Attributes:
        name: Such as "v1".
        served: Whether clients can ask for it.
        columns: `additionalPrinterColumns`.
        warning: What clients of a deprecated version are told; empty if it is not deprecated.
        resource: What the scheme has.
        raw_schema: `openAPIV3Schema`.
    """

    def __init__(self, definition: "Definition", raw: Mapping[str, Any], *, preserve_unknown: bool) -> None:
        self.definition = definition
        self.name: str = raw["name"]
        self.served = bool(raw.get("served"))
        self.columns: list[Object] = raw.get("additionalPrinterColumns") or []
        self.raw_schema: Object = (raw.get("schema") or {}).get("openAPIV3Schema") or {}
        self._preserve_unknown = preserve_unknown
        subresources = raw.get("subresources") or {}
        self.has_status = subresources.get("status") is not None
        scale = subresources.get("scale")
        self.scale = None if scale is None else _scale(scale)
        self.resource = self._resource(raw)
        self.warning = ""
        if raw.get("deprecated"):
            usual = f"{definition.group}/{self.name} {definition.kind} is deprecated"
            self.warning = raw.get("deprecationWarning") or usual

    @cached_property
    def node(self) -> structural.Node:
        """The structural schema."""
        return structural.compile_schema(self.raw_schema, preserve_unknown=self._preserve_unknown)

    @cached_property
    def validator(self) -> structural.Validator:
        """Checks values."""
        return structural.Validator(self.raw_schema)

    @cached_property
    def rules(self) -> Rules | None:
        """The CEL rules; None if there are none."""
        return Rules(self.node) if self.node.has_rules else None

    @cached_property
    def type(self) -> Type:
        """The type that field ownership walks."""
        return structural.to_type(self.node)

    @cached_property
    def has_defaults(self) -> bool:
        """Whether reading may have to fill in something."""
        return self.node.has_defaults

    def _resource(self, raw: Mapping[str, Any]) -> Resource:
        one = self.definition
        subs = []
        if self.scale is not None:
            subs.append(Subresource("scale", "autoscaling", "v1", "Scale", _SUB_VERBS))
        if self.has_status:
            subs.append(Subresource("status", one.group, self.name, one.kind, _SUB_VERBS))
        names = one.names
        return Resource(
            group=one.group,
            version=self.name,
            kind=one.kind,
            plural=one.plural,
            singular=names.get("singular") or one.kind.lower(),
            namespaced=one.namespaced,
            verbs=VERBS,
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=tuple(subs),
            definition=".".join([*reversed(one.group.split(".")), self.name, one.kind]),
            storage=f"{one.group}/{one.plural}",
            storage_version=f"{one.group}/{one.storage}",
            selectable_fields=tuple(
                field["jsonPath"].removeprefix(".")
                for field in raw.get("selectableFields") or ()
                if field.get("jsonPath")
            ),
            custom=True,
            listed=names.get("listKind") or "",
        )


class Definition:
    """A kind that is served.

    Args:
        crd: The CustomResourceDefinition.
        revision: Since when its schemas stand: objects written later need no second look.

    Attributes:
        names: The accepted names.
        storage: The version in which objects are stored.
        versions: By name, in the order of preference.
        conversion: `spec.conversion`.
        is_terminating: Whether it is being deleted.
    """

    def __init__(self, crd: Mapping[str, Any], revision: int) -> None:
        spec, metadata = crd["spec"], crd["metadata"]
        self.name: str = metadata["name"]
        self.uid: str = metadata.get("uid") or ""
        self.spec: Object = spec
        self.revision = revision
        self.group: str = spec["group"]
        self.names: Object = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
        self.kind: str = self.names.get("kind") or spec["names"]["kind"]
        self.plural: str = spec["names"]["plural"]
        self.namespaced = spec.get("scope") == "Namespaced"
        self.storage = next(one["name"] for one in spec["versions"] if one.get("storage"))
        self.conversion: Object = spec.get("conversion") or {"strategy": "None"}
        self.is_terminating = bool(metadata.get("deletionTimestamp"))
        preserve = bool(spec.get("preserveUnknownFields"))
        ordered = sorted(spec["versions"], key=lambda one: rank(one["name"]))
        self.versions = {one["name"]: Version(self, one, preserve_unknown=preserve) for one in ordered}

    @property
    def is_webhook(self) -> bool:
        """Whether a webhook converts between versions."""
        return self.conversion.get("strategy") == "Webhook"

    def resources(self) -> list[Resource]:
        """Return what the scheme serves of it."""
        return [one.resource for one in self.versions.values() if one.served]


def rank(version: str) -> tuple[int, int, int, str]:
    """Return a sort key that puts the best version first: v2, v1, v2beta1, v1beta2, v1alpha1, then others by name.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return 3, 0, 0, version
    level = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return level, -int(match[1]), -int(match[3] or 0), ""


def condition(crd: Mapping[str, Any], type: str) -> Object | None:
    """Return a condition of a definition."""
    for one in (crd.get("status") or {}).get("conditions") or ():
        if one.get("type") == type:
            found: Object = one
            return found
    return None


def is_true(crd: Mapping[str, Any], type: str) -> bool:
    """Return whether a condition holds."""
    return (condition(crd, type) or {}).get("status") == "True"


def _scale(raw: Mapping[str, Any]) -> ScalePaths:
    return ScalePaths(
        raw.get("specReplicasPath") or "", raw.get("statusReplicasPath") or "", raw.get("labelSelectorPath") or ""
    )
