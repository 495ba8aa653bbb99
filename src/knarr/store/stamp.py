"""The revision stamp: an object's own resourceVersion inside its stored bytes.

A writer does not know the revision its write will get, so it leaves `"resourceVersion":""` at the first place where the
name occurs (the codec puts it first in metadata, behind kind and apiVersion, whose quotes JSON escapes). The backend fills the
quotes in when it assigns the revision. So what a reader gets is what a client gets, byte for byte.
"""

from knarr.store.backend import Revision

UNSTAMPED = b'"resourceVersion":""'


def apply(value: bytes, revision: Revision) -> bytes:
    """Return `value` with `revision` in its empty stamp; a value without one comes back as it is."""
    return value.replace(UNSTAMPED, b'"resourceVersion":"%d"' % revision, 1)


def move(value: bytes, old: Revision, new: Revision) -> bytes:
    """Return `value`, which is stamped `old`, stamped `new`: what is shown of an object at its deletion."""
    return value.replace(b'"resourceVersion":"%d"' % old, b'"resourceVersion":"%d"' % new, 1)


def remove(value: bytes, revision: Revision) -> bytes:
    """Return `value`, which is stamped `revision`, with an empty stamp."""
    return value.replace(b'"resourceVersion":"%d"' % revision, UNSTAMPED, 1)
