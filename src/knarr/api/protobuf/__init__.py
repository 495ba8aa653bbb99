"""Protobuf bodies of all built-in kinds, to and from the dicts that JSON gives.

`encode` and `decode` are whole bodies, `frame` an event of a watch. No class is generated for any message: one table of field
numbers (`messages.txt`), read when the first body arrives, drives one reader and one writer.
"""

from knarr.api.protobuf.envelope import MEDIA_TYPE, WATCH_MEDIA_TYPE, decode, encode, frame, is_known, wrap
from knarr.api.protobuf.errors import BadEnvelope, BadMessage, NotMarshalable

__all__ = [
    "MEDIA_TYPE",
    "WATCH_MEDIA_TYPE",
    "BadEnvelope",
    "BadMessage",
    "NotMarshalable",
    "decode",
    "encode",
    "frame",
    "is_known",
    "wrap",
]
