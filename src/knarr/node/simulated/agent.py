"""The process of simulated nodes: a simulation over HTTPS with its own client, and the server behind its nodes.

It acts as one user for all of its nodes (group `simulated.knarr.dev`); `plan_objects` are the role that this needs. A real node may write
only what is its own, which is why it is not of `system:nodes`.

Counterpart: cmd/kubelet (v1.37), and kwok's controller.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from knarr.client import Client, credentials, transport
from knarr.kit import clock as clocks
from knarr.kit.http.server import open_server
from knarr.node.server.auth import Guard
from knarr.node.simulated.fleet import Fleet
from knarr.node.simulated.server import SimulatedServer
from knarr.node.simulated.simulation import Simulation, open_simulation
from knarr.node.simulated.stages import Stage
from knarr.node.status import KUBELET_VERSION

USER = "system:simulated-nodes"
GROUP = "simulated.knarr.dev"
ROLE = "knarr-simulated-nodes"
USER_AGENT = f"kubelet/{KUBELET_VERSION} (simulated) knarr"


@dataclass(frozen=True, slots=True)
class Config:
    """All that the process is told.

    Attributes:
        server_url: The API server.
        ca_file: The authority that signed the API server's certificates.
        certificate_file: A client certificate of the group GROUP.
        key_file: Its key.
        serving_certificate_file: The certificate of its own HTTPS server, for the fleet's address.
        serving_key_file: Its key.
        fleet: The nodes; their port is the server's.
        address: Where the server listens; empty means all addresses.
        stages: How pods are played.
        seed: Of all chance.
    """

    server_url: str
    ca_file: Path
    certificate_file: Path
    key_file: Path
    serving_certificate_file: Path
    serving_key_file: Path
    fleet: Fleet
    address: str = ""
    stages: Sequence[Stage] = ()
    seed: int = 0


@contextlib.asynccontextmanager
async def open_agent(config: Config, *, clock: clocks.Clock | None = None) -> AsyncIterator[Simulation]:
    """Play nodes until the block is left.

    Args:
        config: What it is told.
        clock: The time; the system's by default.
    """
    clock = clock or clocks.SystemClock()
    tls = credentials.TlsFiles(config.ca_file, config.certificate_file, config.key_file, clock=clock)
    client = Client(transport.HttpsTransport(config.server_url, tls=tls), clock=clock, user_agent=USER_AGENT)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        late: list[SimulatedServer] = []
        server = await stack.enter_async_context(
            open_server(
                lambda request: late[0].serve(request),
                host=config.address,
                port=config.fleet.port,
                tls=_serving_tls(config),
                grace_s=1.0,
            )
        )
        fleet = replace(config.fleet, port=server.port)
        playing = open_simulation(client, fleet, clock=clock, random=Random(), stages=config.stages, seed=config.seed)
        simulation = await stack.enter_async_context(playing)
        late.append(SimulatedServer(simulation, Guard(client, "", clock), clock))
        yield simulation


def plan_objects() -> Iterator[dict[str, Any]]:
    """Yield the role of simulated nodes and its binding."""
    verbs = {
        ("", "nodes"): ["create", "get", "list", "patch", "watch"],
        ("", "nodes/status"): ["patch"],
        ("", "pods"): ["delete", "get", "list", "watch"],
        ("", "pods/status"): ["patch"],
        ("", "events"): ["create", "patch"],
        ("coordination.k8s.io", "leases"): ["create", "get", "update"],
        ("authentication.k8s.io", "tokenreviews"): ["create"],
        ("authorization.k8s.io", "subjectaccessreviews"): ["create"],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": allowed}
            for (group, resource), allowed in verbs.items()
        ],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP}],
    }


def _serving_tls(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.ca_file)
    context.load_cert_chain(config.serving_certificate_file, config.serving_key_file)
    context.verify_mode = ssl.CERT_OPTIONAL  # who shows none may still have a token
    return context
