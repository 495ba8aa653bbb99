"""A schema as a tree of nodes: the structure by which objects are pruned, defaulted and typed.

A node keeps what belongs to the structure; the value validations (limits, patterns, anyOf …) stay in `raw`, from which
`validation` compiles its checks. Nodes are shared and never changed once made.

Source: Structural in k8s.io/apiextensions-apiserver/pkg/apiserver/schema/structural.go (v1.37).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

META_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
"""What every object has besides what its schema says."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of x-kubernetes-validations.

    Attributes:
        rule: The CEL expression.
        message: What to say when it is false; may be empty.
        message_expression: CEL that says it; may be empty.
        reason: The machine-readable reason, such as "FieldValueInvalid".
        field_path: Which field below the rule's place is at fault; may be empty.
        optional_old_self: Whether `oldSelf` is optional, and the rule runs on creation too.
    """

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One place in an object.

    Attributes:
        raw: The schema as it was given.
        type: "object", "array", "string", "integer", "number", "boolean", or "" for any.
        nullable: Whether null is a value.
        properties: Fields by name.
        items: The elements of a list.
        additional: The values of a map; None if it is no map, or if its values are not described.
        is_map: Whether other fields than `properties` are allowed by additionalProperties.
        preserve_unknown: Whether unknown fields are kept.
        embedded: Whether the value is a whole object with apiVersion, kind and metadata.
        int_or_string: Whether the value is a number or a text.
        default: What an absent value means; None if nothing.
        list_type: "atomic", "set" or "map".
        list_map_keys: What tells the elements of a "map" list apart.
        map_type: "granular" or "atomic".
        rules: CEL rules.
    """

    raw: Mapping[str, Any]
    type: str = ""
    nullable: bool = False
    properties: Mapping[str, "Node"] = field(default_factory=dict)
    items: "Node | None" = None
    additional: "Node | None" = None
    is_map: bool = False
    preserve_unknown: bool = False
    embedded: bool = False
    int_or_string: bool = False
    default: Any = None
    list_type: str = "atomic"
    list_map_keys: tuple[str, ...] = ()
    map_type: str = "granular"
    rules: tuple[Rule, ...] = ()

    def child(self, name: str) -> "Node | None":
        """Return the node of a field or map value; None if nothing is said of it."""
        return self.properties.get(name) or self.additional

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it."""
        yield self
        for one in (*self.properties.values(), self.items, self.additional):
            if one is not None:
                yield from one.walk()

    @property
    def has_defaults(self) -> bool:
        """Whether a default is set here or anywhere below."""
        return any(node.default is not None for node in self.walk())

    @property
    def has_rules(self) -> bool:
        """Whether a CEL rule stands here or anywhere below."""
        return any(node.rules for node in self.walk())


def compile_schema(raw: Mapping[str, Any] | None, *, preserve_unknown: bool = False) -> Node:
    """Return the root node of a version's schema.

    Args:
        raw: `openAPIV3Schema`; None or empty means that anything goes.
        preserve_unknown: `spec.preserveUnknownFields` of old definitions.
    """
    if not raw:
        return Node({}, "object", preserve_unknown=True)
    node = _compile(raw)
    if preserve_unknown and not node.preserve_unknown:
        return _compile({**raw, "x-kubernetes-preserve-unknown-fields": True})
    return node


def _compile(raw: Mapping[str, Any]) -> Node:
    more = raw.get("additionalProperties")
    items = raw.get("items")
    return Node(
        raw,
        raw.get("type") or "",
        bool(raw.get("nullable")),
        {name: _compile(inner) for name, inner in (raw.get("properties") or {}).items()},
        _compile(items) if isinstance(items, dict) else None,
        _compile(more) if isinstance(more, dict) else None,
        more is not None and more is not False,
        bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        bool(raw.get("x-kubernetes-embedded-resource")),
        bool(raw.get("x-kubernetes-int-or-string")),
        raw.get("default"),
        raw.get("x-kubernetes-list-type") or "atomic",
        tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        raw.get("x-kubernetes-map-type") or "granular",
        tuple(_rule(one) for one in raw.get("x-kubernetes-validations") or ()),
    )


def _rule(raw: Mapping[str, Any]) -> Rule:
    return Rule(
        raw.get("rule") or "",
        raw.get("message") or "",
        raw.get("messageExpression") or "",
        raw.get("reason") or "",
        raw.get("fieldPath") or "",
        bool(raw.get("optionalOldSelf")),
    )
