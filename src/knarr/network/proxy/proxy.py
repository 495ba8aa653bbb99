"""Keeps the kernel's rules as Services, EndpointSlices and the host ports of this node's pods say.

A change marks its Service; the marked ones are planned anew, and what differs goes to the kernel in one transaction, at once when all was
quiet and at most every `min_sync_s` otherwise. At the start, after a failure and when somebody else emptied the table,
the whole table is replaced, also in one transaction: there is no moment without rules.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from lightkube.models import core_v1, discovery_v1

from knarr.control.informer import Informers
from knarr.kit import metrics, tasks
from knarr.kit.clock import Clock
from knarr.network import slices
from knarr.network.errors import CommandFailed
from knarr.network.proxy import affinity, conntrack, nft
from knarr.network.proxy.healthchecks import Health, HealthChecks
from knarr.network.proxy.hostports import plan_host_ports
from knarr.network.proxy.rules import plan_rules
from knarr.network.proxy.ruleset import Ruleset, format_all, format_changes, spread_needed
from knarr.network.proxy.services import ServicePort, to_service_ports
from knarr.network.proxy.skeleton import Table

CHECK_S = 15.0
"""How often to see whether the table is still there: reloading a firewall may flush everything."""
SPREAD_LIMIT = 16
"""For how many endpoints a Service may have the rules are there from the start; more replace the table, doubling the limit."""

Owner = tuple[str, str]

logger = logging.getLogger(__name__)

_DURATION = metrics.PROCESS.histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds",
    tuple(0.001 * 2**exponent for exponent in range(15)),
)  # fmt: skip
_LAST = metrics.PROCESS.gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced"
)
_FAILURES = metrics.PROCESS.counter(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Cumulative proxy nftables sync failures"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a service proxy works with.

    Attributes:
        informers: Of the node's client; shared with cluster DNS.
        clock: Times synchronization.
        node_name: This node: its endpoints are "local".
        table: Name of the nftables table ("knarr-NAME").
        bridge: Name of the pod bridge.
        pod_cidr: Addresses of all pods of the cluster.
        service_cidr: Addresses of Services.
        dns_address: The cluster DNS, which listens on the bridge and is left alone.
        min_sync_s: Shortest time between two transactions.
    """

    informers: Informers
    clock: Clock
    node_name: str
    table: str
    bridge: str
    pod_cidr: str
    service_cidr: str
    dns_address: str
    min_sync_s: float = 0.03


class Proxy:
    """A running service proxy; made by `open_proxy`."""

    def __init__(self, config: Config, supervisor: tasks.Supervisor) -> None:
        self._config = config
        self._health = HealthChecks(supervisor)
        self._clock = config.clock
        self._table = Table(
            name=config.table,
            bridge=config.bridge,
            pod_cidr=config.pod_cidr,
            service_cidr=config.service_cidr,
            dns_address=config.dns_address,
        )
        self._ruleset = Ruleset()
        self._ports: dict[Owner, tuple[ServicePort, ...]] = {}
        self._marked: set[Owner] = set()
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._is_intact = False
        self._spread_limit = SPREAD_LIMIT
        self._services = config.informers.of(core_v1.Service)
        self._slices = config.informers.of(discovery_v1.EndpointSlice)
        self._slices.add_index(slices.BY_SERVICE, slices.by_service)
        self._pods = config.informers.of(core_v1.Pod, field_selector=f"spec.nodeName={config.node_name}")
        self._services.on_change(self._on_service)
        self._slices.on_change(self._on_slice)
        self._pods.on_change(self._on_pod)

    @property
    def is_synced(self) -> bool:
        """Whether the rules hold everything that was known at the start."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until the rules hold everything that was known at the start."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the API until cancelled.

        Raises:
            CommandFailed: nft refused; call again to replace the table.
        """
        self._is_intact = False
        await self._services.wait_synced()
        await self._slices.wait_synced()
        await self._pods.wait_synced()
        while True:
            began_s = self._clock.monotonic_s()
            self._wake.clear()
            await self._sync()
            self._synced.set()
            if not self._wake.is_set():
                await self._wake.wait()
            await self._clock.sleep(began_s + self._config.min_sync_s - self._clock.monotonic_s())

    async def check(self) -> None:
        """Look now and then whether the table is still there, until cancelled."""
        while True:
            await self._clock.sleep(CHECK_S)
            if self.is_synced and not await nft.has_chain(self._table.path, "services"):
                logger.warning("nftables table %s is gone, restoring it", self._table.name)
                self._is_intact = False
                self._wake.set()

    async def _sync(self) -> None:
        began_s = self._clock.monotonic_s()
        marked, self._marked = self._marked, set()
        changed = [port for owner in marked for port in self._plan(owner)]
        changes = self._ruleset.changes()
        needed = spread_needed(changes)
        from_empty = not self._is_intact or needed > self._spread_limit
        if from_empty:
            self._spread_limit = max(self._spread_limit, 1 << needed.bit_length())
            changes = self._ruleset.everything()
            clients = await affinity.read_clients(self._table, changes)
            text = format_all(changes, self._table, spread_limit=self._spread_limit)
            text += affinity.format_clients(clients, self._table)
        else:
            text = format_changes(changes, self._table)
        if text:
            self._is_intact = False  # until nft has said so
            try:
                await nft.apply(text)
            except CommandFailed:
                _FAILURES.labels().add()
                raise
            self._is_intact = True
        self._ruleset.mark_applied(changes, from_empty=from_empty)
        await self._forget_stale_flows(changed)
        _DURATION.labels().observe(self._clock.monotonic_s() - began_s)
        _LAST.labels().set(self._clock.now().timestamp())

    async def _forget_stale_flows(self, changed: list[ServicePort]) -> None:
        try:
            await conntrack.forget_stale_flows(changed)
        except CommandFailed as err:
            logger.warning("UDP clients may go on talking to endpoints that are gone: %s", err)

    def _plan(self, owner: Owner) -> tuple[ServicePort, ...]:
        """Plan one Service anew; return its ports, or those it had if it is gone, without endpoints."""
        service = self._services.get(*owner)
        found = self._slices.by_index(slices.BY_SERVICE, "/".join(owner)) if service else []
        ports = to_service_ports(service, found, node_name=self._config.node_name) if service else ()
        self._ruleset.replace(owner, plan_rules(ports, self._table))
        before = self._ports.pop(owner, ())
        self._health.replace(_health_of(before), _health_of(ports))
        if ports:
            self._ports[owner] = ports
        return ports or tuple(replace(port, endpoints=(), local_endpoints=()) for port in before)

    def _on_service(self, old: core_v1.Service | None, new: core_v1.Service | None) -> None:
        meta = (new or old or core_v1.Service()).metadata
        assert meta
        self._mark((meta.namespace or "", meta.name or ""))

    def _on_slice(self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None) -> None:
        for one in (old, new):
            for value in slices.by_service(one) if one else ():
                namespace, _, name = value.partition("/")
                self._mark((namespace, name))

    def _on_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        before = plan_host_ports(old, self._table) if old else {}
        after = plan_host_ports(new, self._table) if new else {}
        if before != after:
            meta = (new or old or core_v1.Pod()).metadata
            assert meta
            # A pod that takes the name of another has an owner of its own: a StatefulSet's next may come before the last is gone.
            self._ruleset.replace(("pod", meta.uid or ""), after)
            self._wake.set()

    def _mark(self, owner: Owner) -> None:
        self._marked.add(owner)
        self._wake.set()


def _health_of(ports: Iterable[ServicePort]) -> dict[int, Health]:
    local: dict[int, set[str]] = {}
    owners: dict[int, tuple[str, str]] = {}
    for port in ports:
        if port.health_port and port.is_external_local:
            local.setdefault(port.health_port, set()).update(one.address for one in port.local_endpoints)
            owners[port.health_port] = (port.namespace, port.service)
    return {number: Health(*owners[number], len(found)) for number, found in local.items()}


@asynccontextmanager
async def open_proxy(config: Config) -> AsyncIterator[Proxy]:
    """Run the service proxy. The rules stay when the context ends: connections go on without it."""
    async with tasks.Supervisor("proxy", clock=config.clock) as supervisor:
        proxy = Proxy(config, supervisor)
        supervisor.run("sync", proxy.run)
        supervisor.run("check", proxy.check)
        yield proxy


async def remove(table: str) -> None:
    """Delete the rules of the proxy whose table is `table`; connections through Services end."""
    await nft.delete_table(f"ip {table}")
