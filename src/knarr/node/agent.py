"""The node agent: makes this machine a node and runs the pods that are bound to it.

It knows the API server through its URL and its own certificate alone, as if on another machine, and keeps nothing that
containerd and the API do not know: an agent that starts again finds its pods running and goes on.

Counterpart: cmd/kubelet (v1.37).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knarr.kit import clock as clocks
from knarr.node.runtime import containerd


@dataclass(frozen=True, slots=True)
class Config:
    """All that an agent is told.

    Attributes:
        server_url: The API server, such as "https://127.0.0.1:6443".
        ca_file: The authority that signed the API server's certificates, both its serving and its client one.
        certificate_file: The node's client certificate: user system:node:NAME, group system:nodes.
        key_file: Its key.
        serving_certificate_file: The certificate of the agent's own HTTPS server.
        serving_key_file: Its key.
        node_name: The node's name.
        node_ip: The node's address; empty finds the one of the default route.
        root: The agent's folder: pods, plugins, seccomp profiles, container logs.
        containerd: The own containerd.
        cluster_dns: Addresses of the cluster's DNS, for pods' resolv.conf.
        domain: The cluster's domain.
        cgroup_root: The group below which all pods run, such as "/knarr-default".
        address: Where the HTTPS server listens; empty means all addresses.
        port: The HTTPS server's port; 0 takes a free one.
        labels: Labels that the node gets beside the usual ones.
        max_pods: Most pods.
    """

    server_url: str
    ca_file: Path
    certificate_file: Path
    key_file: Path
    serving_certificate_file: Path
    serving_key_file: Path
    node_name: str
    node_ip: str
    root: Path
    containerd: containerd.Config
    cluster_dns: tuple[str, ...]
    domain: str = "cluster.local"
    cgroup_root: str = "/"
    address: str = ""
    port: int = 10250
    labels: Mapping[str, str] = field(default_factory=dict)
    max_pods: int = 110


class Agent:
    """A running agent. Use `open_agent`.

    Attributes:
        config: What it was told.
        port: Where its HTTPS server listens.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.port = config.port

    async def wait_pod_cidr(self) -> str:
        """Wait until the node is registered and has its range of pod addresses, and return it: `spec.podCIDR`.

        Whoever composes the processes then writes the CNI configuration; until it is there, pods outside
        the host's network wait.
        """
        raise NotImplementedError


@contextlib.asynccontextmanager
async def open_agent(config: Config, *, clock: clocks.Clock | None = None) -> AsyncIterator[Agent]:
    """Run the agent until the block is left; its pods keep running.

    It returns at once and keeps trying where the API server cannot be reached yet.

    Args:
        config: What it is told.
        clock: Times heartbeats, probes and backoffs; the system's by default.

    Raises:
        ContainerdFailed: The container runtime did not come up.
    """
    yield Agent(config)
