"""The object of a request while plugins change it: in the versions they ask for, and with memory of who saw which state.

Source: VersionedAttributes in k8s.io/apiserver/pkg/admission; plugin/webhook/mutating/reinvocationcontext.go (v1.37).
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from knarr.apiserver.admission.chain import AdmissionRequest, Shapes
from knarr.apiserver.admission.matching import Match

Object = dict[str, Any]


class Versions:
    """The object and the old one of a request, each converted once.

    Args:
        request: The request; make a new `Versions` once its object has changed.
        shapes: Converts.
    """

    def __init__(self, request: AdmissionRequest, shapes: Shapes) -> None:
        self._request = request
        self._shapes = shapes
        self._found: dict[tuple[bool, str], Object | None] = {}

    async def get(self, match: Match, *, is_old: bool) -> Object | None:
        """Return the object, or the old one, as a match presents it; not to be changed."""
        obj = self._request.old if is_old else self._request.object
        if obj is None or match.kind.api_version == obj.get("apiVersion"):
            return obj
        key = is_old, match.kind.api_version
        if key not in self._found:
            self._found[key] = await self._shapes.convert(copied(obj), match.kind)
        return self._found[key]


@dataclass(slots=True)
class Memory:
    """What the first round leaves for the second.

    Attributes:
        called: Those called so far that want to be called again if somebody changes the object after them.
        due: Those of them for which that has happened.
        left: The object as the last one of a round left it, encoded.
    """

    called: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    left: bytes = b""

    def begin(self, request: AdmissionRequest) -> None:
        """Begin a round: if others have changed the object since the last one, all are due."""
        if request.round and self.left != encoded(request.object):
            self.note_change()

    def end(self, request: AdmissionRequest) -> None:
        """End a round."""
        if self.called or self.due:
            self.left = encoded(request.object)

    def note_change(self) -> None:
        """Note that the object has changed after those called so far."""
        self.due |= self.called
        self.called.clear()


def replace(request: AdmissionRequest, obj: Object) -> None:
    """Put another object in the place of a request's, for everybody who holds it."""
    if request.object is None:
        request.object = obj
    elif obj is not request.object:
        request.object.clear()
        request.object.update(obj)


def copied(obj: Object) -> Object:
    """Return an independent copy."""
    found: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return found


def encoded(obj: Object | None) -> bytes:
    """Return an object as bytes that are equal if objects are."""
    return msgspec.json.encode(obj, order="sorted")
