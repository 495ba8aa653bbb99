"""Names of fields that are no identifiers of CEL, and how expressions write them: `x-prop` is `x__dash__prop`.

Source: k8s.io/apiserver/pkg/cel/escaping.go (v1.37).
"""

import re

_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
        "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
_ALLOWED = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*", re.ASCII)
_SPECIAL = re.compile(r"__|[./-]")
_WORDS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escape(name: str) -> str | None:
    """Return how an expression writes a field's name; None if it cannot."""
    if name in _RESERVED:
        return f"__{name}__"
    if _ALLOWED.fullmatch(name) is None:
        return None
    return _SPECIAL.sub(lambda match: _WORDS[match[0]], name)
