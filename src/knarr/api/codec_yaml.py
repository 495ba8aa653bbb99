"""YAML bodies, read with the rules of the library that upstream uses: YAML 1.1 words, string keys, no endless aliases.

libyaml makes the nodes; what a plain scalar means is decided here, because PyYAML's own rules differ (dates, 1e3, 1:30).

Source: sigs.k8s.io/yaml (goyaml.v2 resolve.go, decode.go): scalar forms, alias limits, wording of errors.
"""

import base64
import binascii
import math
import re
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_MAX_DEPTH = 200
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]{1,16})|0[bB]([01]{1,64})|0[oO]?([0-7]{1,22})|(0|[1-9][0-9]{0,18}))")
_STRING, _BINARY = "tag:yaml.org,2002:str", "tag:yaml.org,2002:binary"
_MERGE = "<<"


class YamlError(ValueError):
    """Raised when a text is no YAML, or none that JSON can hold."""


def decode(body: bytes) -> tuple[Any, list[str]]:
    """Read the first document.

    Returns:
        Its value, and a complaint for each key that a mapping has twice.

    Raises:
        YamlError: it is no YAML, too deep, or made of too many aliases.
    """
    try:
        _check_depth(body)
        loader = _Loader(body)
        try:
            node = loader.get_node() if loader.check_node() else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise YamlError(f"yaml: line {line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"yaml: {getattr(error, 'reason', error)}") from None
    except RecursionError:
        raise YamlError("yaml: exceeded max depth") from None
    if node is None:
        return None, []
    reader = _Reader()
    try:
        return reader.read(node, 0), reader.complaints
    except RecursionError:
        raise YamlError("yaml: exceeded max depth") from None


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before nodes are made, which libyaml's wrapper does by unguarded recursion."""
    if sum(body.count(opening) for opening in (b"[", b"{", b"- ", b"-\n", b"? ", b":")) <= _MAX_DEPTH:
        return
    depth = 0
    loader = _Loader(body)
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    raise YamlError("yaml: exceeded max depth")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    finally:
        loader.dispose()


def encode(obj: Any) -> bytes:
    """Write a value as YAML, keys sorted as upstream does."""
    text: bytes = yaml.dump(obj, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, encoding="utf-8")
    return text


class _Reader:
    """Turns nodes into values, counting how many come from aliases."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._seen: set[int] = set()
        self._decoded = 0
        self._aliased = 0

    def read(self, node: Any, depth: int, *, aliased: bool = False) -> Any:
        self._decoded += 1
        if isinstance(node, yaml.ScalarNode):
            self._count(aliased)
            return _scalar(node)
        aliased = aliased or id(node) in self._seen
        self._seen.add(id(node))
        self._count(aliased)
        if depth > _MAX_DEPTH:
            raise YamlError("yaml: exceeded max depth")
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, depth + 1, aliased=aliased) for item in node.value]
        return self._mapping(node, depth, aliased=aliased)

    def _count(self, aliased: bool) -> None:
        self._aliased += aliased
        if self._aliased > 100 and self._decoded > 1000 and self._aliased / self._decoded > _allowed(self._decoded):
            raise YamlError("yaml: document contains excessive aliasing")

    def _mapping(self, node: Any, depth: int, *, aliased: bool) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == _MERGE and _is_plain(key_node):
                merged = {**self._merge(value_node, depth, aliased=aliased), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"yaml: line {key_node.start_mark.line + 1}: invalid map key")
            key = _to_key(_scalar(key_node))
            if key in out and not aliased:
                line = key_node.start_mark.line + 1
                self.complaints.append(f'line {line}: key "{key}" already set in map')
            out[key] = self.read(value_node, depth + 1, aliased=aliased)
        return {**merged, **out} if merged else out

    def _merge(self, node: Any, depth: int, *, aliased: bool) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        out: dict[str, Any] = {}
        for part in reversed(nodes):
            if not isinstance(part, yaml.MappingNode):
                raise YamlError("yaml: map merge requires map or sequence of maps as the value")
            out.update(self.read(part, depth + 1, aliased=aliased))
        return out


def _allowed(decoded: int) -> float:
    """The share of values that may come from aliases: nearly all of few, a tenth of very many."""
    low, high = 400_000, 4_000_000
    if decoded <= low:
        return 0.99
    if decoded >= high:
        return 0.10
    return 0.99 - 0.89 * (decoded - low) / (high - low)


def _is_plain(node: Any) -> bool:
    return node.style in (None, "") and node.tag == _STRING


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.tag == _BINARY or node.tag == "!!binary":
        try:
            return base64.b64decode(text).decode(errors="replace")
        except (binascii.Error, ValueError):
            raise YamlError("yaml: !!binary value contains invalid base64 data") from None
    if not _is_plain(node):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    match = _INTEGER.fullmatch(text.replace("_", ""))
    if match is not None:
        sign, hexadecimal, binary, octal, decimal = match.groups()
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)):
            if digits:
                number = int(digits, base)
                return -number if sign == "-" else number
    if _FLOAT.fullmatch(text):
        return _float(text)
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise YamlError(f"json: unsupported value: {text}")
    return text


def _float(text: str) -> Any:
    number = float(text)
    if not math.isfinite(number):
        raise YamlError(f"json: unsupported value: {text}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _to_key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
