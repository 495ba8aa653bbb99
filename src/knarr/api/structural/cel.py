"""CEL rules of a schema: compiled, judged for their cost, and run over objects.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel: compilation.go, validation.go, model/schemas.go; cost limits of
k8s.io/apiserver/pkg/apis/cel/config.go (v1.37).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from knarr.api.field import OMITTED, ErrorType, FieldError, Path
from knarr.api.structural.schema import Node, Rule
from knarr.api.structural.validation import MISSING, by_keys, key_of
from knarr.lang import cel
from knarr.lang.cel import cost, declarations
from knarr.lang.cel.declarations import Decl
from knarr.lang.cel.escaping import escape

EXPRESSION_COST_LIMIT = 10_000_000
"""Most units that a rule may cost by estimate, over all values that it judges in one object."""
SCHEMA_COST_LIMIT = 100_000_000
"""The same for all rules of a schema."""
OBJECT_BUDGET_S = 2.0
"""How long the rules of one object may take together."""

REASONS = {
    "FieldValueInvalid": ErrorType.INVALID,
    "FieldValueForbidden": ErrorType.FORBIDDEN,
    "FieldValueRequired": ErrorType.REQUIRED,
    "FieldValueDuplicate": ErrorType.DUPLICATE,
}
_NO_MORE = "no further validation rules will be run"
_REQUEST = cost.REQUEST_BYTES
_FORMAT_BYTES = {
    "date": 10,
    "date-time": 35,
    "datetime": 35,
    "duration": 32,
    "ipv4": 15,
    "ipv6": 45,
    "uuid": 36,
    "byte": _REQUEST,
}
_MIN_BYTES = {"object": 2, "array": 2, "string": 2, "integer": 1, "number": 1, "boolean": 4}
_STRING = Decl("string", size=253)


def declare(node: Node, *, is_root: bool = False) -> Decl:
    """Return the type that expressions see of a place.

    Args:
        node: The schema there.
        is_root: Whether it is a whole custom resource.
    """
    if node.int_or_string:
        return Decl("dyn")
    match node.type:
        case "array":
            element = declare(node.items) if node.items is not None else declarations.DYN
            return Decl("list", element=element, size=_most(node, "maxItems", node.items))
        case "string":
            kinds = {
                "byte": "bytes",
                "duration": "duration",
                "date": "timestamp",
                "date-time": "timestamp",
                "datetime": "timestamp",
            }
            kind: Any = kinds.get(node.raw.get("format") or "", "string")
            return Decl(kind, size=_most_bytes(node))
        case "boolean":
            return declarations.BOOL
        case "integer":
            return declarations.INT
        case "number":
            return declarations.DOUBLE
        case "object":
            return _declare_object(node, is_root=is_root)
        case _:
            return Decl("dyn")


def _declare_object(node: Node, *, is_root: bool) -> Decl:
    if node.additional is not None and not node.properties:
        return Decl("map", element=declare(node.additional), size=_most(node, "maxProperties", node.additional))
    if node.is_map and not node.properties:
        return Decl("map", element=declarations.DYN, size=_most(node, "maxProperties", None))
    if node.preserve_unknown and not node.properties and not (is_root or node.embedded):
        return Decl("map", element=declarations.DYN, size=_most(node, "maxProperties", None))
    fields: dict[str, Decl] = {}
    names: dict[str, str] = {}
    for name, inner in node.properties.items():
        escaped = escape(name)
        if escaped is not None and not (name == "metadata" and (is_root or node.embedded)):
            fields[escaped], names[escaped] = declare(inner), name
    if is_root or node.embedded:
        metadata = Decl(
            "object", {"name": _STRING, "generateName": _STRING}, {"name": "name", "generateName": "generateName"}
        )
        for name, decl in (("apiVersion", _STRING), ("kind", _STRING), ("metadata", metadata)):
            fields[name], names[name] = decl, name
    return Decl("object", fields, names)


def _most(node: Node, limit: str, inner: Node | None) -> int:
    """Return how many elements a list or map can have: as many as it may, or as fit into a request."""
    fits = _REQUEST // (_least_bytes(inner) + 1)
    given = node.raw.get(limit)
    return min(int(given), fits) if given is not None else fits


def _most_bytes(node: Node) -> int:
    given, enum = node.raw.get("maxLength"), node.raw.get("enum")
    if enum:
        return max(len(str(one)) for one in enum)
    known = _FORMAT_BYTES.get(node.raw.get("format") or "")
    if known is not None:
        return known
    return min(int(given) * 4, _REQUEST) if given is not None else _REQUEST


def _least_bytes(node: Node | None) -> int:
    """Return how few bytes of JSON a value can take."""
    if node is None:
        return 1
    if node.int_or_string:
        return 1
    least = _MIN_BYTES.get(node.type, 1)
    if node.type == "object":
        required = node.raw.get("required") or ()
        least += sum(len(name) + 3 + _least_bytes(inner) for name, inner in node.properties.items() if name in required)
    return least


@dataclass(frozen=True, slots=True)
class Compiled:
    """One rule, ready to run.

    Attributes:
        rule: As it was written.
        program: Says whether a value is good.
        message: Says what is wrong; None if the rule has no messageExpression.
        is_transition: Whether it looks at the old value.
    """

    rule: Rule
    program: cel.Program
    message: cel.Program | None
    is_transition: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A rule that does not compile.

    Attributes:
        why: The compiler's words.
        is_message: Whether its messageExpression is at fault.
    """

    why: str
    is_message: bool = False


class Rules:
    """The rules of one schema, compiled place by place when they are first needed.

    Args:
        root: The schema of a custom resource.
    """

    def __init__(self, root: Node) -> None:
        self._root = root
        self._compiled: dict[int, list[Compiled]] = {}
        self._with_rules = {id(node) for node in root.walk() if node.has_rules}

    def check(self, obj: Any, old: Any = MISSING) -> list[FieldError]:
        """Return what the rules say against an object.

        Args:
            obj: The object, defaulted and valid by its schema.
            old: What stood there before; MISSING if nothing did.
        """
        run = _Run(self, time.perf_counter() + OBJECT_BUDGET_S)
        try:
            run.visit(obj, old, self._root, "", is_root=True)
        except _OutOfTime as err:
            run.found.append(
                FieldError(
                    ErrorType.INVALID,
                    Path(str(err)),
                    OMITTED,
                    f"validation failed due to running out of cost budget, {_NO_MORE}",
                )
            )
        return run.found

    def of(self, node: Node) -> list[Compiled]:
        """Return the compiled rules of a place; those that do not compile are left out: they were refused long ago."""
        found = self._compiled.get(id(node))
        if found is None:
            found = self._compiled[id(node)] = [
                compiled
                for _, compiled in compile_rules(node, is_root=node is self._root)
                if isinstance(compiled, Compiled)
            ]
        return found

    def is_ruled(self, node: Node | None) -> bool:
        """Return whether rules stand at a place or below it."""
        return node is not None and id(node) in self._with_rules


def compile_rules(node: Node, *, is_root: bool) -> Iterator[tuple[int, Compiled | Failed]]:
    """Compile the rules of one place; yields the number of each with what came of it."""
    if not node.rules:
        return
    decl = declare(node, is_root=is_root)
    environments: dict[bool, cel.Environment] = {}
    for index, rule in enumerate(node.rules):
        environment = environments.get(rule.optional_old_self)
        if environment is None:
            old = replace(decl, is_optional=True) if rule.optional_old_self else decl
            environment = environments[rule.optional_old_self] = cel.Environment({"self": decl, "oldSelf": old})
        program = message = None
        try:
            program = environment.compile(rule.rule)
            if program.result != "bool":
                yield index, Failed("cel expression must evaluate to a bool")
                continue
            message = environment.compile(rule.message_expression) if rule.message_expression else None
            if message is not None and message.result != "string":
                yield index, Failed("messageExpression must evaluate to a string", is_message=True)
                continue
        except cel.CompileError as err:
            yield index, Failed(str(err), is_message=program is not None)
            continue
        yield index, Compiled(rule, program, message, "oldSelf" in program.names())


class _OutOfTime(Exception):
    """Raised when the rules of an object have taken too long; the message is the path."""


class _Run:
    """The rules over one object."""

    def __init__(self, rules: Rules, deadline: float) -> None:
        self._rules = rules
        self._deadline = deadline
        self.found: list[FieldError] = []

    def visit(self, value: Any, old: Any, node: Node, path: str, *, is_root: bool = False) -> None:
        if value is None:
            return
        if node.rules:
            self._judge(value, old, node, path)
        if old is not MISSING and value == old and not self._has_transitions(node):
            return
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                inner = node.child(name)
                if inner is not None and self._rules.is_ruled(inner):
                    self.visit(item, before.get(name, MISSING), inner, f"{path}.{name}" if path else name)
        elif isinstance(value, list) and node.items is not None and self._rules.is_ruled(node.items):
            known = by_keys(old, node.list_map_keys) if node.list_type == "map" and isinstance(old, list) else {}
            for index, item in enumerate(value):
                was = known.get(key_of(item, node.list_map_keys), MISSING) if known else MISSING
                self.visit(item, was, node.items, f"{path}[{index}]")

    def _has_transitions(self, node: Node) -> bool:
        return any(one.is_transition for inner in node.walk() if inner.rules for one in self._rules.of(inner))

    def _judge(self, value: Any, old: Any, node: Node, path: str) -> None:
        is_unchanged = old is not MISSING and value == old
        for one in self._rules.of(node):
            if time.perf_counter() > self._deadline:
                raise _OutOfTime(path)
            if one.is_transition and old is MISSING and not one.rule.optional_old_self:
                continue
            if is_unchanged and not one.is_transition:
                continue
            variables = {"self": value}
            if one.is_transition and old is not MISSING:
                variables["oldSelf"] = old
            self._run(one, variables, node, path)

    def _run(self, one: Compiled, variables: Mapping[str, Any], node: Node, path: str) -> None:
        text = one.rule.message or f"failed rule: {one.rule.rule.strip()}"
        try:
            if one.program.evaluate(variables) is True:
                return
        except cel.OutOfBudget as err:
            self._add(one, node, path, f"{_NO_MORE} due to {err} for rule: {one.rule.rule}")
            raise _OutOfTime(path) from err
        except cel.EvaluationError as err:
            self._add(one, node, path, f"{err} evaluating rule: {one.rule.message or one.rule.rule.strip()}")
            return
        if one.message is not None:
            try:
                said = str(one.message.evaluate(variables)).strip()
            except cel.EvaluationError:
                said = ""
            if said and "\n" not in said and len(said) <= 5 * 1024:
                text = said
        self._add(one, node, path, text)

    def _add(self, one: Compiled, node: Node, path: str, text: str) -> None:
        at = f"{path}{one.rule.field_path}" if path else one.rule.field_path.removeprefix(".")
        kind = REASONS.get(one.rule.reason, ErrorType.INVALID)
        self.found.append(FieldError(kind, Path(at), node.type, text))
