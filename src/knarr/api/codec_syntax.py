"""Says where JSON breaks, in the words of Go's scanner. Only asked after decoding has failed.

Source: encoding/json scanner.go (state names and messages), Go 1.25.
"""

import re
from typing import NoReturn

_MAX_DEPTH = 300
EOF = "unexpected end of JSON input"
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING_BODY = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_END = {ord("{"): ord("}"), ord("["): ord("]")}


class _Broken(Exception):
    pass


def find_error(body: bytes) -> str | None:
    """Return what is wrong with a JSON text, None if nothing is."""
    try:
        _Scanner(body).run()
    except _Broken as broken:
        return str(broken)
    return None


def _quote(byte: int) -> str:
    character = chr(byte)
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    escapes = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\v": r"\v"}
    if character in escapes:
        return f"'{escapes[character]}'"
    if byte < 0x20 or byte == 0x7F:
        return rf"'\x{byte:02x}'"
    return rf"'\u{byte:04x}'" if not character.isprintable() else f"'{character}'"


class _Scanner:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def run(self) -> None:
        stack: list[int] = []
        self._value(stack)
        while stack:
            self._continue(stack)
        self._skip()
        if self._at < len(self._body):
            self._fail("after top-level value")

    def _value(self, stack: list[int]) -> None:
        """Read a scalar, or open an object or array; its first key or element is read too."""
        byte = self._next()
        if byte == ord("{"):
            self._at += 1
            if self._next() == ord("}"):
                self._at += 1
                return
            stack.append(byte)
            self._key(stack)
        elif byte == ord("["):
            self._at += 1
            if self._next() == ord("]"):
                self._at += 1
                return
            stack.append(byte)
            if len(stack) >= _MAX_DEPTH:
                self._fail_depth()
            self._value(stack)
        elif byte == ord('"'):
            self._string()
        elif byte == ord("-") or 48 <= byte <= 57:
            self._number()
        elif bytes([byte]) in _LITERALS:
            self._literal(_LITERALS[bytes([byte])])
        else:
            self._fail("looking for beginning of value")

    def _continue(self, stack: list[int]) -> None:
        opened = stack[-1]
        byte = self._next()
        if byte == _END[opened]:
            self._at += 1
            stack.pop()
            return
        if byte != ord(","):
            self._fail("after object key:value pair" if opened == ord("{") else "after array element")
        self._at += 1
        if opened == ord("{"):
            self._next()
            self._key(stack)
        else:
            self._value(stack)

    def _key(self, stack: list[int]) -> None:
        if self._next() != ord('"'):
            self._fail("looking for beginning of object key string")
        self._string()
        if self._next() != ord(":"):
            self._fail("after object key")
        self._at += 1
        if len(stack) >= _MAX_DEPTH:
            self._fail_depth()
        self._value(stack)

    def _string(self) -> None:
        match = _STRING_BODY.match(self._body, self._at + 1)
        assert match is not None
        self._at = match.end()
        byte = self._peek()
        if byte == ord('"'):
            self._at += 1
            return
        if byte != ord("\\"):
            self._fail("in string literal")
        self._at += 1
        if self._peek() != ord("u"):
            self._fail("in string escape code")
        self._at += 1
        while chr(self._peek()) in "0123456789abcdefABCDEF":
            self._at += 1
        self._fail(r"in \u hexadecimal character escape")

    def _number(self) -> None:
        match = _NUMBER.match(self._body, self._at)
        if match is None:  # a lone minus
            self._at += 1
            self._peek()
            self._fail("in numeric literal")
        self._at = match.end()
        if self._at >= len(self._body):
            return
        byte = self._body[self._at]
        if byte == ord(".") and b"." not in match[0] and b"e" not in match[0].lower():
            self._at += 1
            self._peek()
            self._fail("after decimal point in numeric literal")
        if byte in b"eE" and b"e" not in match[0].lower():
            self._at += 1
            if self._peek() in b"+-":
                self._at += 1
                self._peek()
            self._fail("in exponent of numeric literal")

    def _literal(self, word: bytes) -> None:
        for index in range(1, len(word)):
            self._at += 1
            if self._peek() != word[index]:
                self._fail(f"in literal {word.decode()} (expecting {_quote(word[index])})")
        self._at += 1

    def _skip(self) -> None:
        match = _SPACE.match(self._body, self._at)
        assert match is not None
        self._at = match.end()

    def _next(self) -> int:
        self._skip()
        return self._peek()

    def _peek(self) -> int:
        if self._at >= len(self._body):
            raise _Broken(EOF)
        return self._body[self._at]

    def _fail(self, where: str) -> NoReturn:
        raise _Broken(f"invalid character {_quote(self._body[self._at])} {where}")

    def _fail_depth(self) -> NoReturn:
        raise _Broken("exceeded max depth")
