"""Token Secrets that were made for service accounts by old clusters and that nobody uses are first made invalid, then deleted.

A year without use, by the label `kubernetes.io/legacy-token-last-used`, makes one invalid; another year later it goes. Secrets that people
made, that no service account refers to, or that a pod mounts are left alone.

Upstream counterpart: pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go (v1.37).
"""

import logging
from datetime import UTC, datetime, timedelta

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer

PERIOD_S = 24 * 3600.0
UNUSED = timedelta(days=365)
TYPE = "kubernetes.io/service-account-token"  # a Secret's type, not a secret
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
ACCOUNT = "kubernetes.io/service-account.name"
TRACKING = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
_DAY = "%Y-%m-%d"

logger = logging.getLogger(__name__)


class Cleaner:
    """Looks at all such Secrets once a day.

    Args:
        context: Client, informers and time.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._secrets = context.informers.of(core_v1.Secret, field_selector=f"type={TYPE}")
        self._accounts = context.informers.of(core_v1.ServiceAccount)
        self._pods = context.informers.of(core_v1.Pod)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._informers.wait_synced()
        while True:
            await self._clock.sleep(PERIOD_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Make invalid and delete what is unused."""
        tracked_since = await self._tracked_since()
        now = self._clock.now()
        if tracked_since is None or now - tracked_since < UNUSED:
            return
        for secret in self._secrets.list():
            step = plan(secret, tracked_since, now)
            if step and self._is_automatic(secret) and not self._is_mounted(secret):
                await self._act(secret, step, now)

    async def _act(self, secret: core_v1.Secret, step: str, now: datetime) -> None:
        assert secret.metadata is not None
        namespace, name = informer.key_of(secret)
        logger.info("legacy token secret %s/%s is unused: %s", namespace, name, step)
        try:
            if step == "delete":
                options = DeleteOptions(uid=secret.metadata.uid or "", revision=secret.metadata.resourceVersion or "")
                await self._client.delete(core_v1.Secret, name, namespace=namespace, options=options)
            else:
                body = {
                    "metadata": {
                        "uid": secret.metadata.uid,
                        "resourceVersion": secret.metadata.resourceVersion,
                        "labels": {INVALID_SINCE: now.strftime(_DAY)},
                    }
                }
                await self._client.patch(core_v1.Secret, name, body, PatchType.STRATEGIC, namespace=namespace)
        except (errors.NotFound, errors.Conflict):
            return

    async def _tracked_since(self) -> datetime | None:
        namespace, name = TRACKING
        try:
            found = await self._client.get(core_v1.ConfigMap, name, namespace=namespace)
        except errors.NotFound:
            return None
        return _day((found.data or {}).get("since", ""))

    def _is_automatic(self, secret: core_v1.Secret) -> bool:
        namespace, name = informer.key_of(secret)
        account = self._accounts.get(namespace, _annotation(secret, ACCOUNT))
        return account is not None and any(one.name == name for one in account.secrets or ())

    def _is_mounted(self, secret: core_v1.Secret) -> bool:
        namespace, name = informer.key_of(secret)
        return any(
            volume.secret is not None and volume.secret.secretName == name
            for pod in self._pods.list(namespace)
            for volume in ((pod.spec.volumes or ()) if pod.spec else ())
        )


def plan(secret: core_v1.Secret, tracked_since: datetime, now: datetime) -> str:
    """Return "invalidate" or "delete" for a Secret that was not used for long; empty if it stays."""
    metadata = secret.metadata
    if metadata is None or metadata.creationTimestamp is None:
        return ""
    labels = metadata.labels or {}
    used = _day(labels.get(LAST_USED, ""))
    if now - max(used or tracked_since, metadata.creationTimestamp) < UNUSED:
        return ""
    invalid_since = _day(labels.get(INVALID_SINCE, ""))
    if invalid_since is None:
        return "invalidate"
    return "delete" if now - invalid_since >= UNUSED else ""


def build(context: Context) -> Cleaner:
    """Assemble the controller."""
    return Cleaner(context)


def _annotation(secret: core_v1.Secret, key: str) -> str:
    annotations = (secret.metadata.annotations if secret.metadata else None) or {}
    return str(annotations.get(key, ""))


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _DAY).replace(tzinfo=UTC)
    except ValueError:
        return None
