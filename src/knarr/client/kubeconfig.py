"""Kubeconfig files: loaded into transports, and changed by kind's rules.

A change is made under a lock file beside the file (`config.lock`, as client-go's), touches only the entries of its own names, keeps
all else as it was, and leaves the file readable by its owner alone.

Source: k8s.io/client-go/tools/clientcmd (v1.37); kind's pkg/cluster/internal/kubeconfig.
"""

import base64
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from knarr.client.credentials import Basic, Credentials, ExecPlugin, ExecSpec, NoCredentials, TlsFiles, Token, TokenFile
from knarr.client.errors import BadKubeconfig, KubeconfigLocked
from knarr.client.transport import HttpsTransport

LOCK_TIMEOUT_S = 5.0
LOCK_POLL_S = 0.05
LISTS = ("clusters", "users", "contexts")

Config = dict[str, Any]


def default_path() -> Path:
    """Return the file that a change goes to: of $KUBECONFIG the first that exists, else its last; without it ~/.kube/config."""
    listed = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return next((path for path in listed if path.exists()), listed[-1])
    return Path.home() / ".kube" / "config"


def load(path: Path) -> Config:
    """Read a file; one that is not there, or is empty, has no entries.

    Raises:
        BadKubeconfig: it cannot be read or is not a kubeconfig.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return empty()
    except OSError as err:
        raise BadKubeconfig(str(path), err.strerror or str(err)) from err
    try:
        decoded = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise BadKubeconfig(str(path), f"not YAML: {err}") from err
    if decoded is None:
        return empty()
    if not isinstance(decoded, dict) or decoded.get("kind", "Config") != "Config":
        raise BadKubeconfig(str(path), "expected an object of kind Config")
    for name in LISTS:
        entries = decoded.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and entry.get("name") for entry in entries):
            raise BadKubeconfig(str(path), f"{name}: expected a list of entries with names")
    return {**empty(), **decoded}


def empty() -> Config:
    """Return a kubeconfig without entries."""
    return {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [], "current-context": ""}


def merge(path: Path, config: Mapping[str, Any]) -> None:
    """Put the entries of `config` into a file in place of those of the same names, and make its context the current one.

    Raises:
        BadKubeconfig: the file is no kubeconfig; it is left alone.
        KubeconfigLocked: another program is changing it.
    """
    with _locked(path):
        current = load(path)
        for kind in LISTS:
            incoming = list(config.get(kind) or ())
            names = {entry["name"] for entry in incoming}
            current[kind] = [entry for entry in current[kind] or () if entry.get("name") not in names] + incoming
        if config.get("current-context"):
            current["current-context"] = config["current-context"]
        _write(path, current)


def remove(path: Path, name: str) -> bool:
    """Take the cluster, user and context of a name out of a file; a current context of that name becomes none.

    Returns:
        Whether anything was there.
    """
    if not path.exists():
        return False
    with _locked(path):
        current = load(path)
        found = False
        for kind in LISTS:
            left = [entry for entry in current[kind] or () if entry.get("name") != name]
            found |= len(left) != len(current[kind] or ())
            current[kind] = left
        if current.get("current-context") == name:
            current["current-context"] = ""
            found = True
        if found:
            _write(path, current)
    return found


def to_transport(path: Path, context: str = "") -> HttpsTransport:
    """Return the way to the server of a context, the current one by default.

    Raises:
        BadKubeconfig: the file, the context or something that it names is missing.
    """
    config = load(path)
    chosen = context or config.get("current-context") or ""
    if not path.exists():
        raise BadKubeconfig(str(path), "there is no such file")
    if not chosen:
        raise BadKubeconfig(str(path), "no context is the current one; name one of its contexts")
    entry = _entry(path, config, "contexts", chosen).get("context") or {}
    cluster = _entry(path, config, "clusters", entry.get("cluster", "")).get("cluster") or {}
    user = (_entry(path, config, "users", entry["user"]).get("user") or {}) if entry.get("user") else {}
    server = cluster.get("server")
    if not server:
        raise BadKubeconfig(str(path), f'cluster "{entry.get("cluster", "")}" has no server')
    tls = _tls(path, cluster, user) if server.startswith("https:") else None
    return HttpsTransport(
        server, credentials=_credentials(path, user), tls=tls, server_hostname=cluster.get("tls-server-name") or None
    )


def authority(path: Path, context: str = "") -> str:
    """Return the certificates, PEM, with which the server of a context is verified; empty if the system's are to be used.

    Raises:
        BadKubeconfig: the context or something that it names is missing, or the file cannot be read.
    """
    config = load(path)
    entry = _entry(path, config, "contexts", context or config.get("current-context") or "").get("context") or {}
    cluster = _entry(path, config, "clusters", entry.get("cluster", "")).get("cluster") or {}
    data, file = cluster.get("certificate-authority-data"), _file(path, cluster.get("certificate-authority"))
    if data:
        return base64.b64decode(data).decode()
    try:
        return file.read_text() if file is not None else ""
    except OSError as err:
        raise BadKubeconfig(str(file), err.strerror or str(err)) from err


def _entry(path: Path, config: Config, kind: str, name: str) -> Config:
    for entry in config[kind] or ():
        if entry.get("name") == name:
            return dict(entry)
    raise BadKubeconfig(str(path), f'{kind} has no "{name}"')


def _tls(path: Path, cluster: Config, user: Config) -> ssl.SSLContext | TlsFiles:
    insecure = bool(cluster.get("insecure-skip-tls-verify"))
    inline = any(key in {**cluster, **user} for key in ("certificate-authority-data", "client-certificate-data"))
    if not inline:
        return TlsFiles(
            _file(path, cluster.get("certificate-authority")),
            _file(path, user.get("client-certificate")),
            _file(path, user.get("client-key")),
            insecure=insecure,
        )
    data = cluster.get("certificate-authority-data")
    ca = _file(path, cluster.get("certificate-authority"))
    made = ssl.create_default_context(
        cafile=None if data else ca, cadata=base64.b64decode(data).decode() if data else None
    )
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if "client-certificate-data" in user or "client-certificate" in user:
        _load_chain(path, made, user)
    return made


def _load_chain(path: Path, made: ssl.SSLContext, user: Config) -> None:
    # The ssl module reads certificates from files alone; these live as long as it takes.
    with tempfile.TemporaryDirectory(prefix="knarr-") as folder:
        files: list[str] = []
        for key in ("client-certificate", "client-key"):
            if f"{key}-data" in user:
                file = Path(folder) / key
                file.touch(mode=0o600)
                file.write_bytes(base64.b64decode(user[f"{key}-data"]))
                files.append(str(file))
            else:
                found = _file(path, user.get(key))
                if found is None:
                    raise BadKubeconfig(str(path), f"the user has no {key}")
                files.append(str(found))
        try:
            made.load_cert_chain(files[0], files[1])
        except ssl.SSLError as err:
            raise BadKubeconfig(str(path), f"client certificate or key: {err}") from err


def _credentials(path: Path, user: Config) -> Credentials:
    if user.get("tokenFile"):
        return TokenFile(path.parent / user["tokenFile"])
    if user.get("token"):
        return Token(user["token"])
    if user.get("username"):
        return Basic(user["username"], user.get("password") or "")
    if user.get("exec"):
        plugin = user["exec"]
        env = {one["name"]: one["value"] for one in plugin.get("env") or ()}
        spec = ExecSpec(plugin["command"], tuple(plugin.get("args") or ()), env, plugin["apiVersion"])
        return ExecPlugin(spec)
    return NoCredentials()


def _file(path: Path, name: str | None) -> Path | None:
    return path.parent / name if name else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigLocked(str(lock)) from None
            time.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _write(path: Path, config: Config) -> None:
    target = path.resolve()  # a link stays a link
    text = yaml.safe_dump(config, sort_keys=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
