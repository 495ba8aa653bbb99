"""LIST: a consistent picture of a collection, in one piece or in chunks.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (semantics of resourceVersion, limit and continue);
k8s.io/apiserver/pkg/storage/continue.go (v1.37).
"""

import base64
import binascii
from typing import Any

import msgspec

from knarr.api import errors
from knarr.apiserver import keys, negotiate, options, responses, selection, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.errors import ContinueExpired
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.verbs.get import check_version, parse_version
from knarr.kit.http.messages import Response
from knarr.store import backend as backends
from knarr.store import errors as store_errors
from knarr.store import query as queries

_TOKEN_VERSION = "meta.k8s.io/v1"
_INCONSISTENT = -1
"""The revision in a token that goes on at whatever is the newest."""


class Token(msgspec.Struct, frozen=True):
    """Where a list goes on.

    Attributes:
        v: The form of the token.
        rv: The revision of the list.
        start: The last key given out, below the resource's prefix.
    """

    v: str
    rv: int
    start: str

    def format(self) -> str:
        """Return the token as clients carry it."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with a list."""
    form = negotiate.of(call.request, target.resource)
    given = options.list_options(call.values, watch=False)
    view = views.of(parts, call, target, form)
    page = await read(parts, target, given)
    values = await reading.show(parts, target.resource, [entry.value for entry in page.entries])
    body = view.many(values, list_metadata(target, page))
    return await responses.send(call, form, body)


async def read(parts: Parts, target: Target, given: options.ListOptions) -> queries.Page:
    """Read the page that the options ask for.

    Raises:
        BadRequest: a selector, the version or the token makes no sense.
        Gone: the revision of the list is not kept any more.
        ServerTimeout: the revision has not happened yet.
    """
    query = selection.query(target, given.label_selector, given.field_selector)
    if given.token:
        return await _continue(parts, target, query, given)
    version = given.resource_version
    is_exact = given.match == options.EXACT or (given.limit and not given.match and version not in ("", "0"))
    if is_exact:
        try:
            return await parts.store.list_at(query, backends.Revision(parse_version(version)), limit=given.limit)
        except store_errors.Compacted:
            raise errors.Gone("The resourceVersion for the provided list is too old.") from None
    check_version(parts, version)
    return parts.store.list(query, limit=given.limit)


def list_metadata(target: Target, page: queries.Page) -> dict[str, Any]:
    """Return the metadata of a list."""
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.next:
        start = page.next[len(keys.prefix(target.resource)) :].decode()
        metadata["continue"] = Token(_TOKEN_VERSION, page.revision, start).format()
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


async def _continue(parts: Parts, target: Target, query: queries.Query, given: options.ListOptions) -> queries.Page:
    token = _parse_token(given.token)
    if given.resource_version not in ("", "0"):
        raise errors.BadRequest("specifying resource version is not allowed when using continue")
    after = keys.prefix(target.resource) + token.start.encode()
    if token.rv == _INCONSISTENT:
        return parts.store.list(query, limit=given.limit, after=after)
    try:
        return await parts.store.list_at(query, backends.Revision(token.rv), limit=given.limit, after=after)
    except store_errors.Compacted:
        raise ContinueExpired(Token(_TOKEN_VERSION, _INCONSISTENT, token.start).format()) from None


def _parse_token(text: str) -> Token:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as err:
        raise errors.BadRequest(f"continue key is not valid: {err}") from err
    if token.v != _TOKEN_VERSION or not token.start or token.rv == 0 or token.rv < _INCONSISTENT:
        raise errors.BadRequest("continue key is not valid: server does not recognize this encoded version")
    return token
