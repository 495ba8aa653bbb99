"""What is wrong with the expressions of a policy if the objects are of the kinds that it is for: warnings in its status.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go; k8s.io/apiserver/pkg/cel/openapi (v1.37).
"""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.api.policies import expressions
from knarr.api.schema import Type
from knarr.api.scheme import Resource, Scheme
from knarr.lang.cel import declarations
from knarr.lang.cel.declarations import Decl
from knarr.lang.cel.escaping import escape

Object = dict[str, Any]

MAX_KINDS = 10
_SCALARS = {
    "string": declarations.STRING,
    "bool": declarations.BOOL,
    "int32": declarations.INT,
    "int64": declarations.INT,
    "float64": declarations.DOUBLE,
    "[]uint8": declarations.BYTES,
}


def check(spec: Mapping[str, Any], scheme: Scheme, type_of: Callable[[Resource], Type | None]) -> list[Object]:
    """Return the expressionWarnings of a ValidatingAdmissionPolicy.

    Args:
        spec: Its spec.
        scheme: What is served.
        type_of: Gives the schema of a kind.
    """
    kinds = [(kind, decl) for kind in kinds_of(spec, scheme) if (decl := _declared(kind, type_of)) is not None]
    params = declarations.DYN
    named = spec.get("paramKind")
    if named is not None:
        found = scheme.find_kind(named.get("apiVersion") or "", named.get("kind") or "")
        params = (_declared(found, type_of) if found is not None else None) or declarations.DYN
    compilers = [(kind, _compiler(spec, decl, params)) for kind, decl in kinds]
    warnings = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            text = validation.get(field)
            said = _warn(text, compilers) if text else ""
            if said:
                warnings.append({"fieldRef": f"spec.validations[{index}].{field}", "warning": said})
    return warnings


def kinds_of(spec: Mapping[str, Any], scheme: Scheme) -> list[Resource]:
    """Return the kinds that a policy names without wildcards, sorted, and not too many."""
    found: dict[tuple[str, str, str], Resource] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
        if any("*" in one for one in (*groups, *versions)):
            continue
        plurals = [one for one in rule.get("resources") or () if "*" not in one and "/" not in one]
        for group in sorted(groups):
            for version in sorted(versions):
                for plural in sorted(plurals):
                    one = scheme.find(group, version, plural)
                    if one is not None and len(found) < MAX_KINDS:
                        found[group, version, one.kind] = one
    return [found[key] for key in sorted(found)]


def declare(shape: Type, above: tuple[str, ...] = ()) -> Decl:
    """Return the type that expressions see of a schema; what contains itself is not checked further down."""
    match shape.kind:
        case "scalar":
            return _SCALARS.get(shape.scalar, declarations.DYN)
        case "quantity":
            return declarations.STRING
        case "time":
            return declarations.TIMESTAMP
        case "list" | "map" if shape.element is not None:
            return Decl("list" if shape.kind == "list" else "map", element=declare(shape.element, above))
        case "object" if shape.name not in above or not shape.name:
            fields: dict[str, Decl] = {}
            names: dict[str, str] = {}
            for name, inner in shape.fields.items():
                escaped = escape(name)
                if escaped is not None:
                    fields[escaped], names[escaped] = declare(inner, (*above, shape.name)), name
            return Decl("object", fields, names) if fields else declarations.DYN
        case _:
            return declarations.DYN


def _declared(kind: Resource, type_of: Callable[[Resource], Type | None]) -> Decl | None:
    shape = type_of(kind)
    return declare(shape) if shape is not None else None


def _compiler(spec: Mapping[str, Any], obj: Decl, params: Decl) -> expressions.Compiler:
    compiler = expressions.Compiler(has_params=spec.get("paramKind") is not None, obj=obj, params=params)
    for variable in spec.get("variables") or ():
        compiler.add_variable(variable.get("name") or "", variable.get("expression") or "")
    return compiler


def _warn(text: str, compilers: list[tuple[Resource, expressions.Compiler]]) -> str:
    said = []
    for kind, compiler in compilers:
        found = compiler.compile(text, expressions.ANY)
        if found.error:
            said.append(f"{kind.group}/{kind.version}, Kind={kind.kind}: {found.error}\n")
    return "\n".join(said)
