"""Which representation a caller gets: media type, and whether the object itself, a table or its metadata alone.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from knarr.api import errors, protobuf
from knarr.api.scheme import Resource
from knarr.kit.http.messages import Request

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = protobuf.MEDIA_TYPE
SERVED = (JSON, YAML, PROTOBUF)
"""Media types of responses, the default first."""
STREAMED = (JSON, PROTOBUF)
"""Media types of watches."""

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"
_TRANSFORMS = {TABLE, PARTIAL, PARTIAL_LIST}
_META_VERSIONS = {"v1", "v1beta1"}


@dataclass(frozen=True, slots=True)
class Form:
    """What a response looks like.

    Attributes:
        media_type: One of SERVED.
        transform: "Table", "PartialObjectMetadata" or "PartialObjectMetadataList"; empty for the object itself.
        version: The version of meta.k8s.io of the transformed object.
        pretty: Whether a "pretty" parameter of the media type asks for indentation.
    """

    media_type: str = JSON
    transform: str = ""
    version: str = "v1"
    pretty: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return self.media_type == JSON and not self.transform


def of(request: Request, resource: Resource, served: Sequence[str] = SERVED) -> Form:
    """Pick the representation of objects of a kind.

    Args:
        request: Who asks.
        resource: The kind.
        served: Media types that can be made here, the default first.

    Raises:
        NotAcceptable: none of those accepted can be made.
    """
    custom = resource.custom
    return choose(request.headers.get("accept") or "", True, served, custom)


@lru_cache(1024)
def choose(accept: str, transforms: bool = True, served: Sequence[str] = SERVED, custom: bool = False) -> Form:
    """Pick the first of the accepted representations that can be made: by quality, then in the caller's order.

    Args:
        accept: The Accept header; empty means anything.
        transforms: Whether tables and metadata can be made here.
        served: Media types that can be made here, the default first.
        custom: Whether the objects are of a custom kind, which has no protobuf form but for its metadata.

    Raises:
        NotAcceptable: none of them can.
    """
    for media_type, parameters in _parse(accept or "*/*"):
        found = _match(media_type, served)
        if found is None:
            continue
        transform = parameters.get("as", "")
        version = parameters.get("v", "v1")
        if transform:
            known = transform in _TRANSFORMS and parameters.get("g") == "meta.k8s.io" and version in _META_VERSIONS
            if not (transforms and known) or (transform == TABLE and found == PROTOBUF):
                continue
        elif found == PROTOBUF and custom:
            continue
        return Form(found, transform, version, parameters.get("pretty") == "1")
    raise errors.NotAcceptable(f"only the following media types are accepted: {', '.join(served)}")


@lru_cache(256)
def body_media_type(content_type: str, allowed: tuple[str, ...]) -> str:
    """Return the media type of a request's body.

    Args:
        content_type: The Content-Type header; empty means the first allowed one.
        allowed: What is understood here.

    Raises:
        UnsupportedMediaType: it is none of these.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type:
        return allowed[0]
    if media_type not in allowed:
        raise errors.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(allowed)
        )
    return media_type


def _match(media_type: str, served: Sequence[str]) -> str | None:
    if media_type in ("*/*", "application/*"):
        return served[0]
    return media_type if media_type in served else None


def _parse(accept: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for index, clause in enumerate(accept.split(",")):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        parameters = {}
        for part in rest:
            name, _, value = part.partition("=")
            parameters[name.strip()] = value.strip().strip('"')
        found.append((-_quality(parameters.get("q", "1")), index, media_type.lower(), parameters))
    found.sort(key=lambda item: item[:2])
    return [(media_type, parameters) for _, _, media_type, parameters in found]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
