"""GET of one object."""

from knarr.api import errors
from knarr.apiserver import negotiate, options, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.errors import too_new
from knarr.apiserver.parts import Call, Parts, Target
from knarr.kit.http.messages import Response
from knarr.store import errors as store_errors


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with the object as it stands now; the stored bytes go out as they are where they can."""
    form = negotiate.of(call.request, target.resource)
    if call.values:
        check_version(parts, options.text(call.values, "resourceVersion"))
    entry = parts.store.get(target.key)
    if entry is None:
        raise target.not_found()
    value = await reading.show_one(parts, target.resource, entry.value)
    return await responses.send(call, form, views.of(parts, call, target, form).one(value))


def check_version(parts: Parts, version: str) -> None:
    """Make sure that what is read is at least as new as the caller asks for.

    Raises:
        BadRequest: the version is no number.
        ServerTimeout: it has not happened yet.
    """
    if version in ("", "0"):
        return
    if parse_version(version) > parts.store.revision:
        raise too_new(store_errors.FutureRevision(int(version), parts.store.revision))


def parse_version(version: str) -> int:
    """Read a resourceVersion.

    Raises:
        BadRequest: it is no number.
    """
    if not (version.isascii() and version.isdecimal()) or len(version) > 20:
        why = f'strconv.ParseUint: parsing "{version[:256]}": invalid syntax'
        raise errors.BadRequest(f"invalid resource version: {why}")
    return int(version)
