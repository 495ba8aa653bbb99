"""Failures of outgoing HTTP as Go's clients word them: they end up in messages and conditions that people and tests match on.

Source: net, net/http, crypto/tls, crypto/x509 of Go 1.25; k8s.io/apimachinery/pkg/api/errors (NewGenericServerResponse) (v1.37).
"""

from knarr.kit.http import errors

_UNKNOWN_AUTHORITY = ("unable to get local issuer", "self-signed", "self signed", "unable to get issuer")
_ANSWERS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    413: "the request entity is too large",
    415: "the server does not support the media type in the request",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
_SHOWN_CHARS = 2048


def of_error(err: errors.HttpError) -> str:
    """Return how Go would say why there is no answer."""
    match err:
        case errors.ConnectRefused():
            return f"dial tcp {err.address}: connect: connection refused"
        case errors.ConnectTimeout():
            return f"dial tcp {err.address}: i/o timeout"
        case errors.TlsFailed():
            return _of_tls(str(err).partition(": ")[2])
        case errors.ConnectFailed():
            return _of_connect(err)
        case errors.ResponseTimeout():
            return "context deadline exceeded"
        case errors.ConnectionLost():
            return "unexpected EOF" if err.answered else "EOF"
        case _:
            return str(err)


def of_answer(status: int, body: bytes) -> str:
    """Return what Go's client makes of an answer that is no success."""
    text = body[:_SHOWN_CHARS].decode(errors="replace").strip()
    if status == 403 and text:
        return text
    known = _ANSWERS.get(status)
    if known is not None:
        return known
    if status >= 500:
        shown = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") or "unknown"
        return f'an error on the server ("{shown}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"


def _of_tls(why: str) -> str:
    lower = why.lower()
    if "wrong version number" in lower or "wrong_version_number" in lower:
        return "http: server gave HTTP response to HTTPS client"
    if any(words in lower for words in _UNKNOWN_AUTHORITY):
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    if "expired" in lower or "not yet valid" in lower:
        return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
    if "hostname mismatch" in lower or "ip address mismatch" in lower:
        wanted = why.partition("'")[2].partition("'")[0]
        return f"tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match {wanted}"
    return f"remote error: tls: {why}"


def _of_connect(err: errors.ConnectFailed) -> str:
    why = str(err).partition(": ")[2]
    host, _, _ = err.address.rpartition(":")
    if "not known" in why or "No address" in why or "name resolution" in why:
        return f"dial tcp: lookup {host}: no such host"
    if "unreachable" in why.lower() or "no route" in why.lower():
        return f"dial tcp {err.address}: connect: {why.lower()}"
    return f"dial tcp {err.address}: {why}"
