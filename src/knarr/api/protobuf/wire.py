"""The protobuf wire format: tags, variable-length integers, and stepping over what is not known.

Everything reads from `data` at a position and returns the new one, so that nothing is copied; an IndexError means that the
bytes end too early. Who calls checks that the end is where it should be.

Source: https://protobuf.dev/programming-guides/encoding/; the error texts are gogo/protobuf's.
"""

from knarr.api.protobuf.errors import WireError

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
UNEXPECTED_EOF = "unexpected EOF"
_MAX_VARINT_BYTES = 10
_MAX_GROUPS = 100
_MASK64 = 2**64 - 1


def varint(value: int) -> bytes:
    """Encode an integer; a negative one takes ten bytes, as two's complement of 64 bits."""
    if 0 <= value < 128:
        return _SHORT[value]
    value &= _MASK64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT = [bytes([value]) for value in range(128)]


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return an unsigned integer of at most 64 bits, and the position behind it.

    Raises:
        WireError: it has more than ten bytes.
        IndexError: the bytes end within it.
    """
    value = data[position]
    position += 1
    if value < 128:
        return value, position
    value &= 127
    for shift in range(7, 7 * _MAX_VARINT_BYTES, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _MASK64, position
    raise WireError("proto: integer overflow")


def skip(data: bytes, position: int, tag: int, owner: str) -> int:
    """Return the position behind a field that is not known.

    Args:
        data: The message.
        position: Behind the tag.
        tag: Number and wire type.
        owner: Name of the message, for errors.

    Raises:
        WireError: the tag is none.
        IndexError: the bytes end within it.
    """
    if tag >> 3 == 0 or tag >> 3 > 2**29 - 1:
        raise WireError(f"proto: {owner}: illegal tag {tag >> 3} (wire type {tag})")
    if tag & 7 == END_GROUP:
        raise WireError(f"proto: {owner}: wiretype end group for non-group")
    depth = 0
    while True:
        wire_type = tag & 7
        if wire_type == VARINT:
            _, position = read_varint(data, position)
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == LENGTH:
            length, position = read_varint(data, position)
            position += length
        elif wire_type == FIXED32:
            position += 4
        elif wire_type == START_GROUP:
            depth += 1
            if depth > _MAX_GROUPS:
                raise WireError("proto: groups nested too deeply")
        elif wire_type == END_GROUP:
            depth -= 1
        else:
            raise WireError(f"proto: illegal wireType {wire_type}")
        if depth == 0:
            return position
        tag, position = read_varint(data, position)


def to_int64(value: int) -> int:
    """Return an unsigned integer of 64 bits as a signed one."""
    return value - 2**64 if value >= 2**63 else value


def to_int32(value: int) -> int:
    """Return what is left of an integer in 32 bits, as a signed one."""
    value &= 2**32 - 1
    return value - 2**32 if value >= 2**31 else value
