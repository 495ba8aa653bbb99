"""How much an expression may cost at most, from its syntax tree and how large its variables can be.

A unit is about the work of one step. Texts cost a tenth of their bytes to look through; a macro costs its body times the elements of
what it runs over. The sizes come from the declared types, for what is not bounded there from the size of a request.

Source: cel-go checker/cost.go; k8s.io/apiserver/pkg/cel/library/cost.go (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from knarr.lang.cel.declarations import DYN, INT, STRING, UNBOUNDED, VALUE, Decl
from knarr.lang.cel.syntax import Checked, Expr

REQUEST_BYTES = 3 * 1024 * 1024
_STEP, _LIST, _MAP, _STRUCT = 1, 10, 30, 40
_TRAVERSAL, _PATTERN = 0.1, 0.25
_OVER_TARGET = frozenset(
    {
        "isSorted", "sum", "min", "max", "indexOf", "lastIndexOf", "split", "replace", "substring", "trim", "lowerAscii",
        "upperAscii", "charAt", "find", "findAll", "url", "isURL", "quantity", "isQuantity", "ip", "isIP", "cidr", "isCIDR",
        "semver", "isSemver", "ip.isCanonical", "format", "quote", "join", "string", "bytes", "timestamp", "duration",
    }
)  # fmt: skip
_OVER_BOTH = frozenset({"sets.contains", "sets.equivalent", "sets.intersects"})
_COMPARISONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What an expression costs and gives.

    Attributes:
        cost: Units.
        decl: The type of the value.
        size: Most elements or bytes of the value.
    """

    cost: float
    decl: Decl
    size: float


def estimate(checked: Checked, variables: Mapping[str, Decl]) -> int:
    """Return the most units that an evaluation can cost."""
    known = {name: _Estimate(_STEP, decl, _size(decl)) for name, decl in variables.items()}
    known |= {f"{name}{VALUE}": known[name] for name, decl in variables.items() if decl.is_optional}
    return int(min(_visit(checked.root, known).cost, 2.0**63))


def _size(decl: Decl) -> float:
    if decl.kind in ("list", "map", "string", "bytes", "dyn"):
        return float(decl.size if decl.size != UNBOUNDED else REQUEST_BYTES)
    return 1.0


def _visit(node: Expr, known: Mapping[str, _Estimate]) -> _Estimate:
    match node.kind:
        case "const":
            size = float(len(node.value)) if isinstance(node.value, str | bytes) else 1.0
            return _Estimate(0, STRING if isinstance(node.value, str) else INT, size)
        case "ident":
            found = known.get(node.name)
            return _Estimate(_STEP, found.decl, found.size) if found is not None else _Estimate(_STEP, DYN, 1.0)
        case "select":
            return _select(node, known)
        case "call":
            return _call(node, known)
        case "comprehension":
            return _comprehension(node, known)
        case _:
            parts = [_visit(one, known) for one in node.operands]
            base = {"list": _LIST, "struct": _STRUCT if node.name else _MAP}[node.kind]
            element = parts[0].decl if parts and node.kind == "list" else DYN
            decl = Decl("list" if node.kind == "list" else "map", element=element, size=len(parts))
            return _Estimate(base + sum(one.cost for one in parts), decl, float(len(parts)))


def _select(node: Expr, known: Mapping[str, _Estimate]) -> _Estimate:
    operand = _visit(node.operands[0], known)
    if node.is_test:
        return _Estimate(operand.cost, INT, 1.0)
    decl = _member(operand.decl, node.name)
    return _Estimate(operand.cost + _STEP, decl, _size(decl))


def _member(decl: Decl, name: str = "") -> Decl:
    found = decl.fields.get(name) or decl.element
    if found is None and decl.kind == "object" and decl.fields and not name:
        return DYN
    return found or DYN


def _call(node: Expr, known: Mapping[str, _Estimate]) -> _Estimate:
    parts = [_visit(one, known) for one in node.operands]
    total = sum(one.cost for one in parts)
    name = node.name
    if name == "_?_:_":
        size = max(parts[1].size, parts[2].size)
        decl = parts[1].decl if parts[1].size >= parts[2].size else parts[2].decl
        return _Estimate(parts[0].cost + max(parts[1].cost, parts[2].cost), decl, size)
    if name in ("_&&_", "_||_", "!_", "@not_strictly_false"):
        return _Estimate(total + (_STEP if name == "!_" else 0), INT, 1.0)
    if name in ("_[_]", "_[?_]", "_?._"):
        field = node.operands[1].value if node.operands[1].kind == "const" else ""
        decl = _member(parts[0].decl, field if isinstance(field, str) else "")
        return _Estimate(total + _STEP, decl, _size(decl))
    return _function(name, parts, total)


def _function(name: str, parts: list[_Estimate], total: float) -> _Estimate:
    first = parts[0] if parts else _Estimate(0, DYN, 1.0)
    if name == "_+_":
        size = sum(one.size for one in parts) if first.decl.kind in ("string", "bytes", "list", "dyn") else 1.0
        return _Estimate(total + max(_STEP, size * _TRAVERSAL), first.decl, size)
    if name in _COMPARISONS:
        return _Estimate(total + max(_STEP, min(one.size for one in parts) * _TRAVERSAL), INT, 1.0)
    if name == "@in":
        size = parts[1].size if parts[1].decl.kind == "list" else 1.0
        return _Estimate(total + max(_STEP, size), INT, 1.0)
    if name == "contains":
        return _Estimate(total + max(_STEP, first.size * _TRAVERSAL * max(1.0, parts[1].size * _TRAVERSAL)), INT, 1.0)
    if name in ("startsWith", "endsWith"):
        return _Estimate(total + max(_STEP, parts[1].size * _TRAVERSAL), INT, 1.0)
    if name in ("matches", "find", "findAll"):
        cost = (first.size + 1) * _TRAVERSAL * max(1.0, parts[1].size * _PATTERN)
        return _Estimate(total + max(_STEP, cost), first.decl, first.size)
    if name in _OVER_BOTH:
        return _Estimate(total + max(_STEP, parts[0].size * parts[1].size), INT, 1.0)
    if name in _OVER_TARGET:
        is_text = first.decl.kind in ("string", "bytes", "dyn")
        cost = first.size * (_TRAVERSAL if is_text else 1.0)
        decl = (first.decl.element or DYN) if name in ("sum", "min", "max") else first.decl
        size = first.size if name not in ("isSorted", "indexOf", "lastIndexOf", "sum") else 1.0
        return _Estimate(total + max(_STEP, cost), decl, size)
    if name in ("orValue", "or", "value", "optMap", "optional.of", "optional.ofNonZeroValue", "dyn"):
        widest = max(parts, key=lambda one: one.size)
        return _Estimate(total + _STEP, first.decl, widest.size)
    return _Estimate(total + _STEP, DYN, 1.0)


def _comprehension(node: Expr, known: Mapping[str, _Estimate]) -> _Estimate:
    source, start, condition, step, result = node.operands
    over = _visit(source, known)
    begun = _visit(start, known)
    element = over.decl.element or DYN
    inner = dict(known)
    is_map = over.decl.kind == "map"
    first = STRING if is_map and not node.second else INT if node.second and not is_map else element
    if node.second and is_map:
        first = STRING
    for name, decl in ((node.name, first), (node.second, element)):
        if name:
            inner[name] = _Estimate(_STEP, decl, _size(decl))
    count = over.size
    gathers = begun.decl.kind == "list"
    inner[node.accumulator] = _Estimate(_STEP, begun.decl, 1.0)
    body = _visit(step, inner)
    if gathers:
        gathered = Decl("list", element=_gathered(step, inner), size=int(count))
        inner[node.accumulator] = _Estimate(_STEP, gathered, count)
    each = _visit(condition, inner).cost + body.cost
    end = _visit(result, inner)
    return _Estimate(over.cost + begun.cost + count * each + end.cost, end.decl, end.size)


def _gathered(step: Expr, known: Mapping[str, _Estimate]) -> Decl:
    """Return the type of the elements that `map` and `filter` gather: of the list that a step adds."""
    for one in step.walk():
        if one.kind == "list" and one.operands:
            return _visit(one.operands[0], known).decl
    return DYN
