"""From a request to its response: the order of things that happen to every request, and the border where errors become answers.

The order: panic border, request info, authentication, impersonation, flow control, authorization, route.

Source: DefaultBuildHandlerChain in k8s.io/apiserver/pkg/server/config.go (v1.37).
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver import freshness, inflight, options, requestinfo, responses
from knarr.apiserver.audit import auditor as auditing
from knarr.apiserver.audit import policy as policies
from knarr.apiserver.audit.record import Record
from knarr.apiserver.authz.authorizer import forbidden
from knarr.apiserver.errors import from_store, to_response, too_many
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Call, Parts
from knarr.apiserver.requestinfo import RequestInfo
from knarr.apiserver.routes import Routes
from knarr.kit import metrics as kit_metrics
from knarr.kit.http.messages import Request, Response
from knarr.store import errors as store_errors

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

_AUDIT_ID_MAX = 64

logger = logging.getLogger(__name__)


class Handler:
    """Answers requests, from sockets and from within the process alike.

    Args:
        parts: The server's parts.
        routes: What is served where.
    """

    def __init__(self, parts: Parts, routes: Routes) -> None:
        self._parts = parts
        self._routes = routes
        self._metrics = parts.metrics
        self._access = parts.access
        labels = parts.metrics.inflight.labels
        self._inflight = {False: labels("readOnly"), True: labels("mutating")}

    async def handle(self, request: Request) -> Response:
        """Answer a request; nothing is raised but cancellation."""
        started = time.perf_counter()
        info = requestinfo.parse(request.method, request.path, request.query)
        call: Call | None = None
        record: Record | None = None
        audit_id, is_broken = self._audit_id(request), False
        try:
            if _BAD_PERCENT.search(request.path):
                raise errors.BadRequest("invalid URL escape in the request path")
            user = await self._authenticate(audit_id, request, info)
            record = self._begin_record(audit_id, request, info, user)
            acting = await self._parts.authenticator.impersonate(user, request, self._parts.authorizer, info)
            call = Call(request, info, acting.user, options.parse(request.query), record=record)
            if record is not None:
                call.annotations = record.annotations
                if acting.user is not user:
                    record.impersonate(acting)
            response = await self._limited(call)
        except errors.StatusError as err:
            response = self._refuse(err, request, call)
        except store_errors.StoreError as err:
            response = self._refuse(from_store(err), request, call)
        except Exception as err:
            logger.error("%s %s failed", request.method, request.path, exc_info=err)
            response = self._refuse(errors.InternalError("the server could not complete the request"), request, call)
            is_broken = True
        response.headers.add("audit-id", audit_id)
        if self._parts.is_stopping and response.upgrade is None:
            response.headers.add("connection", "close")  # the next request finds a server that stays
        if call is not None and call.flow is not None:
            call.flow.mark(response.headers)
        if record is not None:
            if is_broken:
                record.end_in_panic(response)
            else:
                auditing.finish(record, response, long_running=inflight.is_long_running(info))
        is_dry = call is not None and "dryRun" in call.values
        self._metrics.observe(
            info,
            request.method,
            dry_run=is_dry,
            code=response.status,
            seconds=time.perf_counter() - started,
            waited_s=call.waited_s if call is not None else 0.0,
            size=len(response.body) if isinstance(response.body, bytes) else -1,
        )
        return response

    def _audit_id(self, request: Request) -> str:
        given = request.headers.get("audit-id") or ""
        return given if 0 < len(given) <= _AUDIT_ID_MAX and given.isprintable() else new_uid(self._parts.random)

    async def _authenticate(self, audit_id: str, request: Request, info: RequestInfo) -> User:
        tried = auditing.methods_tried(request) if self._parts.auditor is not None else ""
        started = time.perf_counter()
        try:
            user = await self._parts.authenticator.authenticate(request)
            self._access.authenticated(user.name, time.perf_counter() - started)
            return user
        except errors.Unauthorized:
            self._access.authenticated(None, time.perf_counter() - started)
            record = self._begin_record(audit_id, request, info, None)
            if record is not None:
                record.fail(tried)
            raise

    def _begin_record(self, audit_id: str, request: Request, info: RequestInfo, user: User | None) -> Record | None:
        auditor = self._parts.auditor
        record = None if auditor is None else auditor.begin(audit_id, request, info, user)
        if record is not None and user is not None:
            record.emit(policies.RECEIVED)
        return record

    async def _limited(self, call: Call) -> Response:
        info = call.info
        is_long = inflight.is_long_running(info)
        if is_long and info.verb != "watch":
            await self._authorize(call)
            return self._counted(await self._serve(call), info, call.request.method)
        limit_s = self._parts.config.request_timeout_s if is_long else self._time_limit_s(call)
        control = self._parts.flow
        call.flow = control.classify(call.user, info)
        arrived = time.perf_counter()
        ticket = await control.enter(call.flow, info, call.values, limit_s)
        if ticket is not None and ticket.waiting is not None:
            call.waited_s = time.perf_counter() - arrived
        is_mutating = inflight.is_mutating(info)
        if ticket is None:
            self._metrics.reject(info, call.request.method, mutating=is_mutating)
            return too_many(call.flow.level.retry.seconds)
        level = self._inflight[is_mutating]
        level.value += 1
        try:
            await self._authorize(call)
            return await self._serve(call) if is_long else await self._timed(call, limit_s)
        finally:
            level.value -= 1
            control.leave(call.flow, ticket)

    async def _serve(self, call: Call) -> Response:
        await freshness.wait(self._parts, call)
        return await self._routes.serve(call)

    async def _timed(self, call: Call, limit_s: float) -> Response:
        try:
            async with asyncio.timeout(limit_s):
                return await self._serve(call)
        except TimeoutError:
            self._metrics.abort(call.info, call.request.method)
            raise errors.ServerTimeout(
                "Timeout: request did not complete within the requested timeout - context deadline exceeded"
            ) from None

    async def _authorize(self, call: Call) -> None:
        started = time.perf_counter()
        decision = await self._parts.authorizer.decide(call.user, call.info)
        self._access.authorized(decision.allowed, time.perf_counter() - started)
        if call.record is not None:
            call.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
            call.annotations["authorization.k8s.io/reason"] = decision.reason
        if not decision.allowed:
            raise forbidden(call.user, call.info, decision.reason)

    def _time_limit_s(self, call: Call) -> float:
        limit_s = self._parts.config.request_timeout_s
        given = options.text(call.values, "timeout") if call.values else ""
        if not given:
            return limit_s
        try:
            wanted_s = options.duration_s(given)
        except ValueError as err:
            raise errors.BadRequest(f"invalid timeout specified in the request URL - {err}") from err
        return min(limit_s, wanted_s) if wanted_s > 0 else limit_s

    def _counted(self, response: Response, info: RequestInfo, method: str) -> Response:
        # A watch counts itself: one more generator around it would cost every event of every watcher.
        if info.verb != "watch" and not isinstance(response.body, bytes):
            response.body = _count(response.body, self._metrics.long_running(info, method))
        return response

    @staticmethod
    def _refuse(err: errors.StatusError, request: Request, call: Call | None) -> Response:
        response = responses.in_accepted_form(to_response(err), request.headers.get("accept") or "")
        if call is not None and call.warnings:
            fields: list[tuple[str, str]] = []
            responses.add_warnings(fields, call)
            for name, value in fields:
                response.headers.add(name, value)
        return response


async def _count(body: AsyncIterator[bytes], level: kit_metrics.Level) -> AsyncIterator[bytes]:
    level.add(1)
    try:
        async for chunk in body:
            yield chunk
    finally:
        level.add(-1)
        aclose = getattr(body, "aclose", None)
        if aclose is not None:
            await aclose()
