"""Messages of a WebSocket that carry several channels: one byte with the channel's number, or a digit and base64.

Source: k8s.io/apimachinery/pkg/util/httpstream/wsstream/conn.go (v1.37).
"""

import base64


def encode(channel: int, data: bytes, *, coded: bool) -> bytes:
    """Return the message that carries `data`; `coded` is base64, sent as text."""
    if coded:
        return str(channel).encode() + base64.b64encode(data)
    return bytes((channel,)) + data


def decode(message: bytes, *, coded: bool) -> tuple[int, bytes]:
    """Return the channel and the data of a message, which is not empty."""
    if coded:
        return message[0] - ord("0"), base64.b64decode(message[1:])
    return message[0], message[1:]
