"""What a component is given to work with: a client of its own, the shared informers, time, chance and a recorder.

Every controller acts as its own service account, so that RBAC's roles (`system:controller:<name>`) bound what it may do; what it reads
through informers is read once for all, as the process's user.

Upstream counterpart: cmd/kube-controller-manager/app ControllerContext and its SimpleControllerClientBuilder.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from random import Random

from knarr import __version__
from knarr.api import user
from knarr.client import Client, transport
from knarr.control import events, informer
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Handler

ClientFor = Callable[[str], Client]
"""Gives the client that acts as a user: "system:kube-scheduler", "system:serviceaccount:kube-system:job-controller"."""

ACCOUNTS = "system:serviceaccount:kube-system:"


@dataclass(frozen=True, slots=True)
class Options:
    """Facts about the cluster that controllers need and the API does not tell.

    Attributes:
        root_ca: The certificates, PEM, with which pods verify the API server.
        cluster_cidr: Range of pod addresses, such as "10.244.0.0/16"; empty leaves podCIDRs to others.
        node_monitor_grace_s: How long a node may be silent.
        signing_certificate: The authority, PEM, that signs CertificateSigningRequests; empty leaves them to others.
        signing_key: Its key, PEM.
    """

    root_ca: str = ""
    cluster_cidr: str = ""
    node_monitor_grace_s: float = 50.0
    signing_certificate: bytes = b""
    signing_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """What one component works with.

    Attributes:
        client: Acts as the component.
        informers: Shared by all of the process; this view waits only for what was asked of it.
        clock: The time.
        random: Chance.
        recorder: Tells events, as the component.
        client_for: Makes clients of other users.
        options: Facts about the cluster.
    """

    client: Client
    informers: informer.Informers
    clock: Clock
    random: Random
    recorder: events.Recorder
    client_for: ClientFor
    options: Options = field(default_factory=Options)

    @property
    def root_ca(self) -> str:
        """The certificates with which pods verify the API server."""
        return self.options.root_ca

    def named(self, account: str) -> "Context":
        """Return the same for one controller: with a client, a recorder and a view of the informers of its own.

        Args:
            account: Its service account in kube-system, such as "deployment-controller".
        """
        client = self.client_for(ACCOUNTS + account)
        recorder = events.Recorder(client, account, clock=self.clock)
        return replace(self, client=client, recorder=recorder, informers=self.informers.view())


@contextlib.asynccontextmanager
async def open_context(
    client_for: ClientFor,
    name: str,
    *,
    clock: Clock,
    random: Random,
    options: Options | None = None,
    shared: informer.Informers | None = None,
) -> AsyncIterator[Context]:
    """Give the context of a process such as "kube-controller-manager", whose informers read as the user of that name.

    Args:
        client_for: Makes clients.
        name: The process's; its user is "system:" and this.
        clock: The time.
        random: Chance.
        options: Facts about the cluster.
        shared: The informers of another context that outlives this one and may read all that this one reads: whoever
            runs beside it need not keep every pod a second time.
    """
    client = client_for(f"system:{name}")
    recorder = events.Recorder(client, name, clock=clock)
    async with contextlib.AsyncExitStack() as stack:
        if shared is None:
            informers = await stack.enter_async_context(informer.Informers(client, clock, random))
        else:
            informers = shared.view()
        yield Context(client, informers, clock, random, recorder, client_for, options or Options())
        await recorder.aclose()


def in_process(handler: Handler, agent: str, clock: Clock) -> ClientFor:
    """Return how to get clients of an API server in this process.

    Args:
        handler: The API server's.
        agent: The process that calls, such as "kube-scheduler"; becomes the field manager.
        clock: Times retries.
    """

    def client_for(name: str) -> Client:
        way = transport.InProcessTransport(handler, identity(name))
        return Client(way, clock=clock, user_agent=f"{agent}/v{__version__}")

    return client_for


def identity(name: str) -> user.User:
    """Return the user of a component or service account with the groups that authentication would give it."""
    if not name.startswith("system:serviceaccount:"):
        return user.User(name, (user.ALL_AUTHENTICATED,))
    namespace = name.split(":")[2]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", user.ALL_AUTHENTICATED)
    return user.User(name, groups)
