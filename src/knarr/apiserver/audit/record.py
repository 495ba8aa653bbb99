"""The record of one request: what becomes an audit event at each of its stages.

Upstream counterpart: k8s.io/apiserver/pkg/audit/{context,request}.go (v1.37).
"""

import ipaddress
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from knarr.api import codec, protobuf
from knarr.api.user import User
from knarr.apiserver.audit import policy as policies
from knarr.apiserver.authn import reviews
from knarr.apiserver.authn.impersonation import Acting
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit.http.messages import Headers, Request, Response

Object = dict[str, Any]
Event = dict[str, Any]

_USER_AGENT_MAX = 1024
_LOCAL = "::1"
_SLOW_S = 0.5


class Record:
    """What is known so far.

    Args:
        choice: What the policy says.
        audit_id: Of the request.
        request: As it came, with its headers.
        info: What it means.
        user: Who asks; None if nobody knows.
        now: Tells the time.
        send: Takes each event.
    """

    def __init__(
        self,
        choice: policies.Choice,
        audit_id: str,
        request: Request,
        info: RequestInfo,
        user: User | None,
        now: Callable[[], datetime],
        send: Callable[[Event], None],
    ) -> None:
        self.choice = choice
        self.annotations: dict[str, str] = {}
        self._now, self._send = now, send
        self._received = now()
        self._verb = info.verb
        self._request_object: msgspec.Raw | None = None
        self._status: Object | None = None
        self._response_object: msgspec.Raw | None = None
        self._impersonated: Object | None = None
        self._constraint = ""
        self._reference = _reference(info) if info.is_resource_request else None
        uri = f"{request.path}?{request.query}" if request.query else request.path
        self._head: Event = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": choice.level,
            "auditID": audit_id,
            "stage": "",
            "requestURI": uri,
            "verb": info.verb,
            "user": reviews.to_info(user) if user is not None else {},
        }
        agent = request.headers.get("user-agent") or ""
        if len(agent) > _USER_AGENT_MAX:
            agent = agent[:_USER_AGENT_MAX] + "...TRUNCATED"
        self._origin: Event = {"sourceIPs": source_ips(request), "userAgent": agent}
        if choice.keeps_request and info.is_resource_request and info.verb in ("patch", "delete", "deletecollection"):
            self._request_object = self._to_raw(request.body, request.headers.get("content-type") or "")

    def impersonate(self, acting: Acting) -> None:
        """Note as whom the user acts."""
        self._impersonated = reviews.to_info(acting.user)
        self._constraint = acting.constraint

    def note_object(self, obj: Object) -> None:
        """Note the object that is sent, as it was read; it may be changed afterwards."""
        metadata = obj.get("metadata") or {}
        reference = self._reference
        if reference is not None and isinstance(metadata, dict):
            for key in ("namespace", "name", "uid", "resourceVersion"):
                if not reference.get(key) and isinstance(metadata.get(key), str) and metadata[key]:
                    reference[key] = metadata[key]
        if self.choice.keeps_request and self._request_object is None:
            self._request_object = msgspec.Raw(msgspec.json.encode(self._trim(obj)))

    def note_response(self, status: int, headers: Headers, body: bytes | None) -> None:
        """Note what is answered; `body` is None for a stream."""
        self._status = {"metadata": {}, "code": status}
        if body is None or self._reference is None:
            if status >= 400 and body:
                self._note_status(body, headers, status)
            return
        if status >= 400 or self._verb == "delete":
            self._note_status(body, headers, status)
        if self.choice.keeps_response and body:
            encoded = zlib.decompress(body, 31) if headers.get("content-encoding") == "gzip" else body
            self._response_object = self._to_raw(encoded, headers.get("content-type") or "")

    def fail(self, message: str) -> None:
        """End it: nobody knows who asks."""
        self._status = {"metadata": {}, "message": message, "code": 401}
        self.emit(policies.STARTED)

    def end_in_panic(self, response: Response) -> None:
        """End it: the server failed."""
        assert isinstance(response.body, bytes)
        self._note_status(response.body, response.headers, response.status)
        self.emit(policies.PANIC)

    def emit(self, stage: str) -> None:
        """Send the event of a stage, unless the policy leaves it out."""
        if stage in self.choice.omit_stages:
            return
        now = self._now()
        if (now - self._received).total_seconds() > _SLOW_S and stage == policies.COMPLETE:
            self.annotations["apiserver.latency.k8s.io/total"] = f"{(now - self._received).total_seconds():.9f}s"
        event = {**self._head, "stage": stage}
        if self._impersonated is not None:
            event["impersonatedUser"] = self._impersonated
        if self._constraint:
            event["authenticationMetadata"] = {"impersonationConstraint": self._constraint}
        event |= {key: value for key, value in self._origin.items() if value}
        if self._reference is not None:
            event["objectRef"] = {**self._reference}
        if self._status is not None and stage != policies.RECEIVED:
            event["responseStatus"] = self._status
        if self._request_object is not None and stage != policies.RECEIVED:
            event["requestObject"] = self._request_object
        if self._response_object is not None:
            event["responseObject"] = self._response_object
        event["requestReceivedTimestamp"] = _format(self._received)
        event["stageTimestamp"] = _format(now)
        if self.annotations:
            event["annotations"] = dict(sorted(self.annotations.items()))
        self._send(event)

    def _note_status(self, body: bytes, headers: Headers, code: int) -> None:
        found = _decode(body, headers.get("content-type") or "")
        if found is None or found.get("kind") != "Status":
            return
        status = {key: value for key, value in found.items() if key not in ("kind", "apiVersion")}
        self._status = {**status, "metadata": {}, "code": found.get("code", code)}

    def _to_raw(self, body: bytes, content_type: str) -> msgspec.Raw | None:
        if not body:
            return None
        if not self.choice.omit_managed_fields and content_type.startswith("application/json"):
            try:
                msgspec.json.decode(body, type=msgspec.Raw)
            except msgspec.MsgspecError:
                return None
            return msgspec.Raw(body.strip())
        found = _decode_any(body, content_type)
        return None if found is None else msgspec.Raw(msgspec.json.encode(self._trim(found)))

    def _trim(self, obj: Any) -> Any:
        return without_managed_fields(obj) if self.choice.omit_managed_fields and isinstance(obj, dict) else obj


def source_ips(request: Request) -> list[str]:
    """Return from where a request came: what proxies say in X-Forwarded-For and X-Real-Ip, then the peer.

    Source: k8s.io/apimachinery/pkg/util/net/http.go SourceIPs (v1.37).
    """
    found = []
    for part in (request.headers.get("x-forwarded-for") or "").split(","):
        if (address := _address(part)) is not None:
            found.append(address)
    real = _address(request.headers.get("x-real-ip") or "")
    if real is not None and real not in found:
        found.append(real)
    peer = _address(request.peer.address or _LOCAL)
    if peer is not None and (not found or found[-1] != peer):
        found.append(peer)
    return found


def without_managed_fields(obj: Object) -> Object:
    """Return an object, a list's items or a table's rows without managedFields; nothing is changed in place."""
    metadata = obj.get("metadata")
    trimmed = obj
    if isinstance(metadata, dict) and "managedFields" in metadata:
        trimmed = {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    items = obj.get("items")
    if isinstance(items, list):
        trimmed = {**trimmed, "items": [without_managed_fields(one) if isinstance(one, dict) else one for one in items]}
    rows = obj.get("rows")
    if isinstance(rows, list) and obj.get("kind") == "Table":
        shown = [
            {**row, "object": without_managed_fields(row["object"])}
            if isinstance(row, dict) and isinstance(row.get("object"), dict)
            else row
            for row in rows
        ]
        trimmed = {**trimmed, "rows": shown}
    return trimmed


def _reference(info: RequestInfo) -> Object:
    named = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.group,
        "apiVersion": info.version,
        "subresource": info.subresource,
    }
    return {key: value for key, value in named.items() if value}


def _decode(body: bytes, content_type: str) -> Object | None:
    found = _decode_any(body, content_type)
    return found if isinstance(found, dict) else None


def _decode_any(body: bytes, content_type: str) -> Any:
    try:
        if "protobuf" in content_type:
            return protobuf.decode(body, "", "")
        return codec.decode_value(body, content_type or codec.JSON)
    except (codec.BadBody, protobuf.BadMessage):
        return None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None


def _format(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
