"""Requests for groups that others serve: passed on with the name of who asks, which they take from this server's certificate.

Source: k8s.io/kube-aggregator/pkg/apiserver/handler_proxy.go, k8s.io/apimachinery/pkg/util/proxy
(v1.37).
"""

import asyncio

from knarr.api import errors
from knarr.apiserver.aggregation.identity import identity
from knarr.apiserver.aggregation.registrations import Registration
from knarr.apiserver.parts import Call, Parts
from knarr.apiserver.proxy import forward
from knarr.apiserver.webhooks import CallFailed
from knarr.kit.http.messages import Headers, Request, Response

DISCOVERY_TIMEOUT_S = 5.0


async def serve(parts: Parts, call: Call, one: Registration) -> Response:
    """Pass a request on to the server of a remote registration."""
    if any(word in (".", "..") for word in call.info.path.split("/")):
        raise errors.PathNotFound
    if not one.is_available:
        return _refuse(503, "service unavailable")
    try:
        client = await parts.registrations.client(one)
    except errors.StatusError:
        return _refuse(503, "service unavailable")
    except CallFailed as err:
        return _refuse(500, str(err))
    request = call.request
    sent = Request(request.method, request.path, request.query, request.headers, request.body)
    more = identity(call.user)
    if request.peer.address:
        more.append(("x-forwarded-for", request.peer.address))
    try:
        if forward.is_upgrade(request):
            return await forward.upgrade(client, sent, more=more)
        async with asyncio.timeout(DISCOVERY_TIMEOUT_S if _is_discovery(call) else None):
            return await forward.stream(client, sent, more=more)
    except errors.ServiceUnavailable as err:
        return _refuse(503, err.message)
    except TimeoutError:
        return _refuse(503, "error trying to reach service: context deadline exceeded")


def _is_discovery(call: Call) -> bool:
    return not call.info.is_resource_request and len(call.info.path.strip("/").split("/")) == 3


def _refuse(status: int, why: str) -> Response:
    fields = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, Headers.from_lower(fields), f"{why}\n".encode())
