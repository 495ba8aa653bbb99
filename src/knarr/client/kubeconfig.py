"""kubeconfig files: found, read, and changed without disturbing what else is in them.

A change is made under the lock file that kubectl and kind use (`FILE.lock`, created exclusively), and the new content replaces
the old at once, readable by its owner alone.

Source: k8s.io/client-go/tools/clientcmd (loader.go, config.go) and sigs.k8s.io/kind/pkg/cluster/internal/kubeconfig (paths.go, merge.go, remove.go).
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from knarr.client.errors import BadKubeconfig, KubeconfigLocked

LOCK_TIMEOUT_S = 10.0
LOCK_POLL_S = 0.05
SECTIONS = ("clusters", "users", "contexts")
_EMPTY: Mapping[str, Any] = {
    "apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [], "current-context": "", "preferences": {},
}  # fmt: skip


def paths() -> list[Path]:
    """Return the files that `KUBECONFIG` names, else the one in the home folder."""
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return list(dict.fromkeys(named)) or [Path.home() / ".kube" / "config"]


def default_path() -> Path:
    """Return the file to merge into: the first that exists, else the last one named."""
    found = paths()
    return next((path for path in found if path.exists()), found[-1])


def load(path: Path) -> dict[str, Any]:
    """Read a kubeconfig; a missing or empty file is an empty one.

    Raises:
        BadKubeconfig: It is no YAML mapping of this kind, or cannot be read.
    """
    try:
        config = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        config = None
    except (OSError, yaml.YAMLError) as err:
        raise BadKubeconfig(str(path), " ".join(str(err).split())) from err
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise BadKubeconfig(str(path), "expected a mapping")
    for section in SECTIONS:
        entries = config.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get("name") for one in entries):
            raise BadKubeconfig(str(path), f"{section}: expected a list of mappings with a name")
    return {**_EMPTY, **config}


def merge(path: Path, more: Mapping[str, Any]) -> None:
    """Add the clusters, users and contexts of `more`, replacing those of the same name, and make its context the current one.

    Args:
        path: The file; it and its folder are made if need be.
        more: A kubeconfig.

    Raises:
        BadKubeconfig: The file cannot be used; it stays as it is.
        KubeconfigLocked: Another program holds its lock.
    """
    with _locked(path):
        config = load(path)
        for section in SECTIONS:
            added = {entry["name"]: entry for entry in more[section]}
            kept = [entry for entry in config[section] or [] if entry["name"] not in added]
            config[section] = [*kept, *added.values()]
        config["current-context"] = more["current-context"]
        _write(path, config)


def remove(path: Path, name: str) -> None:
    """Remove the cluster, user and context `name`; nothing happens if there are none.

    Raises:
        BadKubeconfig: The file cannot be used; it stays as it is.
        KubeconfigLocked: Another program holds its lock.
    """
    if not path.exists():
        return
    with _locked(path):
        config = load(path)
        before = [len(config[section] or []) for section in SECTIONS]
        for section in SECTIONS:
            config[section] = [entry for entry in config[section] or [] if entry["name"] != name]
        if config["current-context"] == name:
            config["current-context"] = ""
        if before != [len(config[section]) for section in SECTIONS]:
            _write(path, config)


def _write(path: Path, config: Mapping[str, Any]) -> None:
    target = path.resolve()  # a symbolic link stays one
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # 0600 from the start
    try:
        with os.fdopen(descriptor, "w") as file:
            yaml.safe_dump(dict(config), file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            owner = target.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigLocked(str(lock)) from None
            time.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
