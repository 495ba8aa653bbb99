"""What an administrator may tell a control plane: kube-apiserver's flags, under their names.

They come from `server.json` in the cluster's data folder, which `knarr up` leaves alone and every start of the server reads, and from the
command line of `knarr server`, which wins. Paths are absolute, or relative to the data folder.

    {"audit-policy-file": "audit.yaml", "audit-log-path": "logs/audit.log", "encryption-provider-config": "encryption.yaml"}
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from knarr.apiserver import config as apiserver_config
from knarr.apiserver.audit import settings as audit
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.kit import pki
from knarr.store import compaction, places, transfer
from knarr.store.etcd.endpoints import Files

FILE = "server.json"
_FILES = (
    "etcd_cafile",
    "etcd_certfile",
    "etcd_keyfile",
    "audit_policy_file",
    "audit_webhook_config_file",
    "encryption_provider_config",
    "token_auth_file",
    "authentication_config",
    "authentication_token_webhook_config_file",
    "authorization_config",
)
"""The options that name files which the server reads."""


class ServerOptions(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True
):
    """The options; an empty or absent one leaves the default.

    Attributes:
        store: Where objects are kept: sqlite:FILE, memory, or etcd://host:port,host:port/prefix.
        etcd_cafile: The authority of etcd's certificates.
        etcd_certfile: The certificate shown to etcd.
        etcd_keyfile: Its key.
        etcd_compaction_interval: Seconds of history that etcd keeps; one of the servers compacts this often.
        snapshot_schedule_cron: When snapshots are made, such as "0 */12 * * *"; without it none are.
        snapshot_retention: How many scheduled snapshots are kept.
        snapshot_dir: Where snapshots are.
        audit_policy_file: Which requests are audited, and how closely.
        audit_log_path: The audit log; "-" is standard output.
        audit_log_maxsize: Megabytes from which on a new file is begun.
        audit_log_maxage: Days that old files are kept.
        audit_log_maxbackup: How many old files are kept.
        audit_webhook_config_file: A kubeconfig file that says where audit events are sent.
        audit_webhook_batch_max_size: Most events in a batch.
        audit_webhook_batch_max_wait: Seconds that an event may wait for its batch.
        encryption_provider_config: Which resources are encrypted at rest, and how.
        token_auth_file: Static tokens: CSV with token, user, uid and groups.
        authentication_config: Other issuers whose tokens are accepted.
        authentication_token_webhook_config_file: A kubeconfig file with the server that is asked about tokens.
        authorization_config: Who decides what users may do, and in which order.
        anonymous_auth: Whether requests without credentials are let in.
        max_requests_inflight: With the next one, the seats that priority levels share.
        max_mutating_requests_inflight: See there.
        request_timeout: Seconds that a request may take.
        enable_logs_handler: Whether the cluster's log files are served at /logs.
        enable_admission_plugins: Plugins that run besides the default ones.
        disable_admission_plugins: Plugins that do not run.
        controllers: Which controllers run in this process, as kube-controller-manager's flag says it; -* is none.
        scheduler: Whether the scheduler runs in this process.
    """

    store: str = ""
    etcd_cafile: str = ""
    etcd_certfile: str = ""
    etcd_keyfile: str = ""
    etcd_compaction_interval: float = 300.0
    snapshot_schedule_cron: str = ""
    snapshot_retention: int = 5
    snapshot_dir: str = ""
    audit_policy_file: str = ""
    audit_log_path: str = ""
    audit_log_maxsize: int = 100
    audit_log_maxage: int = 0
    audit_log_maxbackup: int = 0
    audit_webhook_config_file: str = ""
    audit_webhook_batch_max_size: int = 400
    audit_webhook_batch_max_wait: float = 30.0
    encryption_provider_config: str = ""
    token_auth_file: str = ""
    authentication_config: str = ""
    authentication_token_webhook_config_file: str = ""
    authorization_config: str = ""
    anonymous_auth: bool = True
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout: float = 60.0
    enable_logs_handler: bool = False
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ("*",)
    scheduler: bool = True


def load(layout: Layout) -> ServerOptions:
    """Read a cluster's options; without a file all are the defaults.

    Raises:
        UsageError: The file is damaged, or has an option that is unknown or of the wrong type.
    """
    path = layout.data / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ServerOptions)
    except FileNotFoundError:
        return ServerOptions()
    except msgspec.MsgspecError as err:
        raise UsageError(f"{path}: {err}") from err


def save(layout: Layout, options: ServerOptions) -> None:
    """Write a cluster's options."""
    pki.write_file(layout.data / FILE, msgspec.json.format(msgspec.json.encode(options)) + b"\n")


def files(options: ServerOptions) -> list[str]:
    """Return the files that the options name, as they name them."""
    return [name for name in (getattr(options, field) for field in _FILES) if name]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each option, such as `--audit-policy-file`."""
    _add(parser, "API server", tuple(field.name for field in msgspec.structs.fields(ServerOptions)))


def add_store_arguments(parser: argparse.ArgumentParser, *, store: bool = True) -> None:
    """Add the flags that say where a store is."""
    _add(parser, "store", (("store",) if store else ()) + ("etcd_cafile", "etcd_certfile", "etcd_keyfile"))


def _add(parser: argparse.ArgumentParser, title: str, names: Sequence[str]) -> None:
    described = _descriptions()
    group = parser.add_argument_group(title, "as kube-apiserver's; also in server.json of the cluster's data folder")
    for field in msgspec.structs.fields(ServerOptions):
        if field.name not in names:
            continue
        flag, text = f"--{field.encode_name}", described[field.name]
        group.add_argument(flag, dest=field.name, type=_reader(field.type), metavar="VALUE", help=text, default=None)


def with_arguments(options: ServerOptions, arguments: argparse.Namespace) -> ServerOptions:
    """Return the options with those that the command line gives."""
    given = {field.name: getattr(arguments, field.name, None) for field in msgspec.structs.fields(ServerOptions)}
    return msgspec.structs.replace(options, **{name: value for name, value in given.items() if value is not None})


def apply(options: ServerOptions, config: apiserver_config.Config, layout: Layout) -> apiserver_config.Config:
    """Return the API server's configuration with the options."""

    def path(text: str) -> Path | None:
        return layout.data / text if text else None

    audited = audit.Settings(
        policy=path(options.audit_policy_file),
        log=Path("-") if options.audit_log_path == "-" else path(options.audit_log_path),
        log_max_size_mb=options.audit_log_maxsize,
        log_max_age_days=options.audit_log_maxage,
        log_max_backups=options.audit_log_maxbackup,
        webhook=path(options.audit_webhook_config_file),
        webhook_batch=options.audit_webhook_batch_max_size,
        webhook_wait_s=options.audit_webhook_batch_max_wait,
    )
    return replace(
        config,
        audit=audited if audited.policy is not None else None,
        encryption=path(options.encryption_provider_config),
        token_auth_file=path(options.token_auth_file),
        authentication=path(options.authentication_config),
        token_webhook=path(options.authentication_token_webhook_config_file),
        authorization=path(options.authorization_config),
        anonymous=options.anonymous_auth,
        max_requests=options.max_requests_inflight,
        max_mutating_requests=options.max_mutating_requests_inflight,
        request_timeout_s=options.request_timeout,
        logs_dir=layout.logs if options.enable_logs_handler else None,
        enabled_admission=options.enable_admission_plugins,
        disabled_admission=options.disable_admission_plugins,
    )


def to_place(options: ServerOptions, layout: Layout, *, otherwise: str) -> transfer.Place:
    """Return the store that the options name.

    Args:
        options: What the administrator wants.
        layout: Whose; a file of SQLite's is there unless its path is absolute.
        otherwise: The store if the options name none.
    """

    def path(text: str) -> Path | None:
        return layout.data / text if text else None

    files = Files(path(options.etcd_cafile), path(options.etcd_certfile), path(options.etcd_keyfile))
    return transfer.Place(options.store or otherwise, layout.database, files)


def history(options: ServerOptions) -> compaction.History:
    """Return how much of the past is kept: in etcd by time alone, as kube-apiserver has it."""
    interval_s = options.etcd_compaction_interval
    if not places.is_shared(options.store):
        return compaction.within(interval_s)
    return compaction.History(age_s=interval_s, events=sys.maxsize, interval_s=interval_s)


def _reader(kind: Any) -> Any:
    if kind is bool:
        return _flag
    return _words if kind not in (int, float, str) else kind


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected true or false")
    return text == "true"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _descriptions() -> Mapping[str, str]:
    """Return what the docstring says of each option: the one place where they are described."""
    lines = (ServerOptions.__doc__ or "").partition("Attributes:")[2].splitlines()
    named = (line.strip().partition(": ") for line in lines if ": " in line)
    return {name: text.rstrip(".").replace("%", "%%") for name, _, text in named}
