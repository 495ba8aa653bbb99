"""Whether the CEL rules of a schema are good: they compile, say something, and cannot cost too much.

Source: validateCustomResourceDefinitionOpenAPISchema in
k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go, cel_validation.go (v1.37).
"""

from knarr.api.structural import cel as rules
from knarr.api.structural.schema import Node, Rule
from knarr.api.validation.collector import Errors
from knarr.lang import cel
from knarr.lang.cel import cost

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_MESSAGE_CHARS = 2048
_TOO_MANY_TIMES = 2**62
_HOW = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared"


def check_rules(errors: Errors, root: Node, path: str) -> None:
    """Check all rules of a schema.

    Args:
        errors: Receives what is wrong.
        root: The schema.
        path: Where it is.
    """
    if not root.has_rules:
        return
    check = _Check(errors)
    check.visit(root, path, 1, uncorrelatable="", is_root=True)
    if check.total > rules.SCHEMA_COST_LIMIT:
        for where in check.costly:
            words = "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema"
            errors.forbidden(where, words)
        what = "x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema"
        errors.forbidden(path, _too_costly(what, check.total, rules.SCHEMA_COST_LIMIT))


class _Check:
    """One pass over one schema."""

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self.total = 0
        self.costly: list[str] = []

    def visit(self, node: Node, path: str, times: int, *, uncorrelatable: str, is_root: bool = False) -> None:
        if node.rules:
            self._check_place(node, path, times, uncorrelatable, is_root=is_root)
        for name, inner in node.properties.items():
            self.visit(inner, f"{path}.properties[{name}]", times, uncorrelatable=uncorrelatable)
        decl = rules.declare(node) if node.items is not None or node.additional is not None else None
        count = min(times * max(decl.size, 1), _TOO_MANY_TIMES) if decl is not None else times
        if node.items is not None:
            lost = uncorrelatable or ("" if node.list_type == "map" else path)
            self.visit(node.items, f"{path}.items", count, uncorrelatable=lost)
        if node.additional is not None:
            self.visit(node.additional, f"{path}.additionalProperties", count, uncorrelatable=uncorrelatable)

    def _check_place(self, node: Node, path: str, times: int, uncorrelatable: str, *, is_root: bool) -> None:
        decl = rules.declare(node, is_root=is_root)
        variables = {"self": decl, "oldSelf": decl}
        for index, rule in enumerate(node.rules):
            self._check_words(rule, node, f"{path}.x-kubernetes-validations[{index}]")
        for index, compiled in rules.compile_rules(node, is_root=is_root):
            rule, where = node.rules[index], f"{path}.x-kubernetes-validations[{index}]"
            if not rule.rule.strip():
                continue
            if isinstance(compiled, rules.Failed):
                field = "messageExpression" if compiled.is_message else "rule"
                kind = "messageExpression " if compiled.is_message else ""
                value = rule.message_expression if compiled.is_message else _shown(rule)
                self._errors.invalid(f"{where}.{field}", value, f"{kind}compilation failed: {compiled.why}")
                continue
            if compiled.is_transition and uncorrelatable:
                words = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
                self._errors.invalid(f"{where}.rule", rule.rule, words)
            if rule.optional_old_self and not compiled.is_transition:
                words = "may not be set if oldSelf is not used in rule"
                self._errors.invalid(f"{where}.optionalOldSelf", True, words)
            self._charge(compiled.program, variables, times, f"{where}.rule", "estimated rule cost")
            if compiled.message is not None:
                what = "estimated messageExpression cost"
                self._charge(compiled.message, variables, times, f"{where}.messageExpression", what)

    def _charge(self, program: cel.Program, variables: dict[str, cel.Decl], times: int, path: str, what: str) -> None:
        units = cost.estimate(program.tree, variables) * times
        self.total += units
        if units > rules.SCHEMA_COST_LIMIT // 10 // 2:
            self.costly.append(path)
        if units > rules.EXPRESSION_COST_LIMIT:
            self._errors.forbidden(path, _too_costly(what, units, rules.EXPRESSION_COST_LIMIT))

    def _check_words(self, rule: Rule, node: Node, path: str) -> None:
        errors, message = self._errors, rule.message
        if not rule.rule.strip():
            errors.required(f"{path}.rule", "rule is not specified")
        if message and not message.strip():
            errors.invalid(f"{path}.message", message, "message must be non-empty if specified")
        elif "\n" in message or "\r" in message:
            errors.invalid(f"{path}.message", message, "message must not contain line breaks")
        elif "\n" in rule.rule and not message:
            errors.required(f"{path}.message", "message must be specified if rule contains line breaks")
        if len(message) > _MESSAGE_CHARS:
            errors.invalid(
                f"{path}.message",
                message[:10] + "...",
                f"message must have a maximum length of {_MESSAGE_CHARS} characters",
            )
        if rule.reason and rule.reason not in _REASONS:
            errors.unsupported(f"{path}.reason", rule.reason, _REASONS)
        if rule.field_path and not _has_field(node, rule.field_path):
            errors.invalid(
                f"{path}.fieldPath", rule.field_path, "fieldPath must be a valid path: does not refer to a valid field"
            )


def _has_field(node: Node, path: str) -> bool:
    """Return whether a path such as ".spec.names['a']" leads to a field of the schema."""
    current: Node | None = node
    for part in path.replace("['", ".").replace("']", "").split("."):
        if part:
            current = current.child(part) if current is not None else None
    return path.startswith((".", "[")) and current is not None


def _shown(rule: Rule) -> dict[str, str]:
    shown = {"rule": rule.rule, "message": rule.message, "messageExpression": rule.message_expression}
    return {name: text for name, text in shown.items() if text}


def _too_costly(what: str, units: int, limit: int) -> str:
    factor = units / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} ({_HOW})"
