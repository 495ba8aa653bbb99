"""What auditing is told: the counterpart of kube-apiserver's --audit-* flags."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the audit log goes.

    Attributes:
        policy: The policy file; None writes nothing.
        log: The log file, "-" for standard output; None writes none.
        log_max_size_mb: Size in megabytes from which on a new file is begun.
        log_max_age_days: Days that old files are kept; 0 keeps them for ever.
        log_max_backups: How many old files are kept; 0 keeps all.
        webhook: A kubeconfig file that says where batches of events are sent; None sends none.
        webhook_batch: Most events in a batch.
        webhook_wait_s: How long an event may wait for its batch to fill.
        webhook_buffer: Most events that wait; further ones are lost.
        webhook_backoff_s: Before the second attempt to send; it grows from there.
    """

    policy: Path | None = None
    log: Path | None = None
    log_max_size_mb: int = 100
    log_max_age_days: int = 0
    log_max_backups: int = 0
    webhook: Path | None = None
    webhook_batch: int = 400
    webhook_wait_s: float = 30.0
    webhook_buffer: int = 10_000
    webhook_backoff_s: float = 10.0
