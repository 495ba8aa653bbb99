"""Requests for certificates that are done with, or that nobody decides, are deleted.

Upstream counterpart: pkg/controller/certificates/cleaner (v1.37).
"""

import base64
import binascii
import logging
from datetime import datetime, timedelta

from cryptography import x509
from lightkube.models import certificates_v1

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context
from knarr.controllers import csr

PERIOD_S = 3600.0
PENDING = timedelta(hours=24)
DECIDED = timedelta(hours=1)

logger = logging.getLogger(__name__)


class Cleaner:
    """Looks at all requests once an hour.

    Args:
        context: Client, informers and time.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._requests = context.informers.of(certificates_v1.CertificateSigningRequest)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._informers.wait_synced()
        while True:
            await self.sweep()
            await self._clock.sleep(PERIOD_S)

    async def sweep(self) -> None:
        """Delete what is over."""
        now = self._clock.now()
        for obj in self._requests.list():
            why = why_over(obj, now)
            if not why or obj.metadata is None:
                continue
            logger.info("cleaning CSR %s: it is %s", obj.metadata.name, why)
            options = DeleteOptions(uid=obj.metadata.uid or "")
            try:
                await self._client.delete(
                    certificates_v1.CertificateSigningRequest, obj.metadata.name or "", options=options
                )
            except (errors.NotFound, errors.Conflict):
                continue


def why_over(obj: csr.Request, now: datetime) -> str:
    """Return why a request is over; empty if it is not."""
    conditions = {one.type: one for one in (obj.status.conditions or ())} if obj.status else {}
    for kind, word in ((csr.DENIED, "denied"), (csr.FAILED, "failed")):
        if kind in conditions and _is_past(conditions[kind].lastUpdateTime, DECIDED, now):
            return word
    if csr.is_issued(obj):
        approved = conditions.get(csr.APPROVED)
        if approved is not None and _is_past(approved.lastUpdateTime, DECIDED, now):
            return "issued"
        return "expired" if csr.has_condition(obj, csr.APPROVED) and _has_expired(obj, now) else ""
    if csr.APPROVED in conditions:
        return "approved" if _is_past(conditions[csr.APPROVED].lastUpdateTime, DECIDED, now) else ""
    created = obj.metadata.creationTimestamp if obj.metadata else None
    return "pending" if not conditions and _is_past(created, PENDING, now) else ""


def _is_past(since: datetime | None, age: timedelta, now: datetime) -> bool:
    return since is not None and now - since > age


def _has_expired(obj: csr.Request, now: datetime) -> bool:
    assert obj.status is not None
    try:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(obj.status.certificate or ""))
    except (ValueError, binascii.Error):
        return False
    return certificate.not_valid_after_utc < now


def build(context: Context) -> Cleaner:
    """Assemble the controller."""
    return Cleaner(context)
