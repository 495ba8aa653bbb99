"""How upstream's own components are started on a cluster folder of Knarr's: for scripts/interop and scripts/bench-api.

A cluster folder has its certificates under kubeadm's names, so kube-apiserver and the others take them as they are. Written for v1.20
(what Debian 12 has the source of); the programs are in one folder, etcd is the machine's.
"""

import datetime
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from knarr.cluster import credentials
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings
from knarr.kit import pki

STOP_TIMEOUT_S = 20.0
GATES = "BoundServiceAccountTokenVolume=true,RootCAConfigMap=true"
"""Tokens as they are since v1.22: without a Secret for each account, which nobody makes since v1.24."""


@dataclass
class Processes:
    """The processes of a run, each with a log file; all end with it."""

    logs: Path
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str | Path]) -> int:
        """Start a process in the background; return its id."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        return self.running[name].pid

    def stop(self, name: str) -> None:
        """End a process and wait for it."""
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """End all, the last one first."""
        for name in reversed([*self.running]):
            self.stop(name)

    def ended(self) -> list[str]:
        """Return the names of processes that should run and do not."""
        return [name for name, process in self.running.items() if process.poll() is not None]

    def tail(self, name: str, lines: int = 5) -> str:
        """Return the end of a log."""
        return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])


def wait_until(reached: Callable[[], bool], what: str, *, timeout_s: float = 60.0, pause_s: float = 0.1) -> float:
    """Wait for something; return the seconds that it took.

    Raises:
        TimeoutError: It did not come in time.
    """
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"not reached within {timeout_s:.0f} s: {what}")
        time.sleep(pause_s)
    return time.monotonic() - began


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def kubeconfig(layout: Layout, decided: Settings, user: str, groups: tuple[str, ...] = (), *, token: str = "") -> Path:
    """Write a kubeconfig with a client certificate, or a token, for a user of the cluster; return its path."""
    folder = layout.data / "users"
    folder.mkdir(mode=0o700, exist_ok=True)
    stem = folder / user.replace(":", "-")
    if token:
        given: dict[str, Any] = {"token": token}
    else:
        pair = pki.load_pair(layout.pki / "ca.crt", layout.pki / "ca.key")
        assert pair is not None
        now = datetime.datetime.now(datetime.UTC)
        credentials.ensure_leaf(pki.Authority(pair), stem, pki.Subject(user, groups), pki.Usage.CLIENT, now)
        given = {
            "client-certificate": str(stem.with_name(f"{stem.name}.crt")),
            "client-key": str(stem.with_name(f"{stem.name}.key")),
        }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"certificate-authority": str(layout.pki / "ca.crt"), "server": decided.server_url},
            }
        ],
        "users": [{"name": "u", "user": given}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = stem.with_name(f"{stem.name}{'-token' if token else ''}.kubeconfig")
    pki.write_file(path, json.dumps(config).encode())
    return path


def etcd(layout: Layout, port: int) -> list[str | Path]:
    """Return the command of a one-member etcd."""
    url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return [
        "etcd",
        f"--data-dir={layout.data / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        "--quota-backend-bytes=6000000000",
    ]


def kube_apiserver(binaries: Path, layout: Layout, decided: Settings, etcd_port: int) -> list[str | Path]:
    """Return the command of kube-apiserver."""
    folder = layout.pki
    key = serialization.load_pem_private_key((folder / "sa.key").read_bytes(), None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    (folder / "sa.pub").write_bytes(public)
    return [
        binaries / "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--secure-port={decided.api_port}",
        f"--advertise-address={decided.advertise_address}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--kubelet-client-certificate={folder / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={folder / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={folder / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={folder / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={folder / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={folder / 'front-proxy-client.key'}",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        f"--service-account-issuer=https://kubernetes.default.svc.{decided.domain}",
        f"--service-cluster-ip-range={decided.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--feature-gates={GATES}",
    ]


def kube_controller_manager(
    binaries: Path, layout: Layout, decided: Settings, config: Path, port: int
) -> list[str | Path]:
    """Return the command of kube-controller-manager; each controller acts as its own service account, by TokenRequest."""
    return [
        binaries / "kube-controller-manager",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--port=0",
        f"--secure-port={port}",
        f"--cert-dir={layout.data / 'kcm'}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.pki / 'sa.key'}",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={layout.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={layout.pki / 'ca.key'}",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={decided.pod_cidr}",
        f"--service-cluster-ip-range={decided.service_cidr}",
        "--leader-elect=true",
        f"--feature-gates={GATES}",
    ]


def kube_scheduler(binaries: Path, layout: Layout, config: Path, port: int) -> list[str | Path]:
    """Return the command of kube-scheduler; without policy/v1beta1, which is gone since v1.25 and which it would wait for."""
    return [
        binaries / "kube-scheduler",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--port=0",
        f"--secure-port={port}",
        f"--cert-dir={layout.data / 'scheduler'}",
        "--leader-elect=true",
        "--feature-gates=PodDisruptionBudget=false",
    ]


def kubelet(binaries: Path, layout: Layout, decided: Settings, config: Path, runtime: Path) -> list[str | Path]:
    """Return the command of a kubelet on a container runtime's socket; its pods are below the cluster's cgroup."""
    root = layout.data / "kubelet"
    root.mkdir(mode=0o700, exist_ok=True)
    told = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "cgroupRoot": decided.cgroup_root,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "/etc/resolv.conf",
        "clusterDNS": [decided.dns_address],
        "clusterDomain": decided.domain,
        "port": decided.node_port,
        "healthzPort": 0,
        "tlsCertFile": str(layout.agent / "serving.crt"),
        "tlsPrivateKeyFile": str(layout.agent / "serving.key"),
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "volumePluginDir": str(root / "plugins-exec"),
    }
    file = root / "config.yaml"
    file.write_text(json.dumps(told))
    return [
        binaries / "kubelet",
        f"--config={file}",
        f"--kubeconfig={config}",
        f"--root-dir={root}",
        f"--cert-dir={root / 'pki'}",
        f"--hostname-override={decided.node_name}",
        f"--node-ip={decided.advertise_address}",
        "--container-runtime=remote",
        f"--container-runtime-endpoint=unix://{runtime}",
    ]


def version(program: Path) -> str:
    """Return what a component says its version is."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[-1]


def knarr(*words: str) -> list[str | Path]:
    """Return a `knarr` command of this checkout."""
    return [Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python", "-m", "knarr", *words]


def use_folder(folder: Path) -> None:
    """Keep clusters below a folder, in this process and in those that it starts."""
    os.environ["KNARR_HOME"], os.environ["KNARR_RUN"] = str(folder), str(folder / "run")
