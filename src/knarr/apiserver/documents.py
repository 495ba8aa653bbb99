"""Discovery and OpenAPI documents as answers: which one a path and an Accept header mean, and whether it has changed.

They are made once for each scheme; a new scheme, as custom resources come and go, starts afresh.
What remote servers say is put together with them where there are any.
"""

from knarr.api.scheme import Scheme
from knarr.apiserver import discovery, negotiate, openapi, openapi_answers, responses, version
from knarr.apiserver.aggregation import discovery as aggregation_discovery
from knarr.apiserver.aggregation import openapi as aggregation_openapi
from knarr.apiserver.parts import Call, Parts
from knarr.kit.http.messages import Headers, Response


class Documents:
    """Answers /api, /apis and what lies below them that is no resource, and /openapi.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._scheme: Scheme | None = None
        self._discovery: discovery.Documents
        self._openapi: openapi.Documents
        self._remote_openapi = aggregation_openapi.Documents(parts)
        self._generation = -1

    async def serve(self, call: Call, path: str) -> Response | None:
        """Answer a GET; None if there is no such document."""
        self._follow()
        words = path.strip("/").split("/")
        if words[0] == "openapi":
            serve = self._remote_openapi.serve if self._parts.registrations.remote() else openapi_answers.serve
            return await serve(call, self._openapi, "/".join(words))
        if words in (["api"], ["apis"]):
            return await self._serve_root(call, is_core=words == ["api"])
        body: bytes | None = None
        if words[0] == "api" and len(words) == 2:
            body = self._discovery.resources("", words[1])
        elif words[0] == "apis" and len(words) == 2:
            body = self._discovery.group(words[1])
        elif words[0] == "apis" and len(words) == 3:
            body = self._discovery.resources(words[1], words[2])
        if body is None:
            return None
        form = negotiate.choose(call.request.headers.get("accept") or "", transforms=False)
        return await responses.send(call, form, body)

    async def _serve_root(self, call: Call, *, is_core: bool) -> Response:
        accept = call.request.headers.get("accept") or ""
        chosen = discovery.aggregated_version(accept)
        if not chosen:
            form = negotiate.choose(accept, transforms=False)
            response = await responses.send(call, form, self._discovery.api if is_core else self._discovery.groups)
            response.headers.set("vary", "Accept")
            return response
        body, etag = self._discovery.aggregated(is_core=is_core, version=chosen)
        kind = discovery.AGGREGATED if chosen == "v2" else discovery.AGGREGATED_BETA
        fields = [("etag", etag), ("vary", "Accept"), ("cache-control", "public")]
        if call.request.headers.get("if-none-match") == etag:
            return Response(304, Headers.from_lower(fields))
        response = await responses.send(call, negotiate.Form(), body)
        for name, value in fields:
            response.headers.set(name, value)
        response.headers.set("content-type", kind)
        return response

    def _follow(self) -> None:
        parts = self._parts
        scheme, generation = parts.scheme, parts.registrations.generation
        if scheme is not self._scheme:
            self._openapi = openapi.Documents(scheme, version.info()["gitVersion"], parts.custom.published())
        elif generation == self._generation:
            return
        self._scheme, self._generation = scheme, generation
        address = f"{parts.config.advertise_address}:{parts.config.advertise_port or 443}"
        if parts.registrations.remote():
            known = parts.remote_documents.get
            self._discovery = aggregation_discovery.Documents(scheme, address, parts.registrations.all(), known)
        else:
            self._discovery = discovery.Documents(scheme, address)
