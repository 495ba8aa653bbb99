"""ServiceCIDRs: a range is ready once it is protected, and goes only when no address in use needs it.

Upstream counterpart: pkg/controller/servicecidrs (v1.37).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import meta_v1, networking_v1
from msgspec.structs import replace

from knarr.control import Context, informer, loop
from knarr.controllers import statuses

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE_S = 10.0
"""Addresses that were given out while the deletion came in have this long to show."""
READY = ("True", "", "Kubernetes Service CIDR is ready")
STILL_USED = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)
RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a range.

    Attributes:
        finalizers: That it should have.
        condition: Status, reason and message of Ready; None leaves it.
        again_s: When to look again.
    """

    finalizers: list[str]
    condition: tuple[str, str, str] | None = None
    again_s: float | None = None


def plan(
    one: networking_v1.ServiceCIDR,
    others: Iterable[networking_v1.ServiceCIDR],
    addresses: Iterable[str],
    now: datetime,
) -> Plan:
    """Decide the next step of a range.

    Args:
        one: The range.
        others: All other ranges.
        addresses: Those in use.
        now: The wall time.
    """
    assert one.metadata
    finalizers = list(one.metadata.finalizers or ())
    deleted = one.metadata.deletionTimestamp
    if deleted is None:
        return Plan(finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER], READY)
    standing = [network for other in others if not _is_going(other) for network in networks_of(other)]
    mine = networks_of(one)
    parsed = [ipaddress.ip_address(address) for address in addresses]
    if any(_within(address, mine) and not _within(address, standing) for address in parsed):
        return Plan(finalizers, STILL_USED, RETRY_S)
    left_s = GRACE_S - (now - deleted).total_seconds()
    if left_s > 0:
        return Plan(finalizers, None, left_s)
    return Plan([name for name in finalizers if name != FINALIZER])


def networks_of(one: networking_v1.ServiceCIDR) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of a range; what is no network is left out."""
    found = []
    for text in (one.spec.cidrs if one.spec else None) or ():
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return found


class Reconciler:
    """Takes the steps of ranges.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._ranges = context.informers.of(networking_v1.ServiceCIDR)
        self._addresses = context.informers.of(networking_v1.IPAddress)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Protect a range, or let it go, and tell whether it is ready."""
        one = self._ranges.get("", request.name)
        if one is None or one.metadata is None:
            return loop.Result()
        others = [other for other in self._ranges.list() if other is not one]
        addresses = [informer.key_of(address)[1] for address in self._addresses.list()]
        now = self._clock.now().replace(microsecond=0)
        step = plan(one, others, addresses, now)
        if step.condition is not None:
            status = networking_v1.ServiceCIDRStatus(conditions=_with_condition(one, step.condition, now))
            if not statuses.is_same(status, one.status):
                one = await self._client.update(replace(one, status=status), subresource="status")
        assert one.metadata
        if step.finalizers != (one.metadata.finalizers or []):
            await self._client.update(replace(one, metadata=replace(one.metadata, finalizers=step.finalizers)))
        return loop.Result(requeue_after_s=step.again_s)

    def ranges_of(self, address: networking_v1.IPAddress) -> Sequence[loop.Request]:
        """Name the ranges that go and that an address lies in."""
        parsed = ipaddress.ip_address(informer.key_of(address)[1])
        found = [one for one in self._ranges.list() if _is_going(one) and _within(parsed, networks_of(one))]
        return [loop.Request("", informer.key_of(one)[1]) for one in found]


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("service-cidr-controller", reconciler, context)
    ranges = context.informers.of(networking_v1.ServiceCIDR)
    controller.watch(
        networking_v1.ServiceCIDR, lambda _: [request for one in ranges.list() for request in loop.itself(one)]
    )
    controller.watch(networking_v1.IPAddress, reconciler.ranges_of)
    return controller


def _with_condition(
    one: networking_v1.ServiceCIDR, told: tuple[str, str, str], now: datetime
) -> list[meta_v1.Condition]:
    status, reason, message = told
    current = list((one.status.conditions or ()) if one.status else ())
    standing = next((condition for condition in current if condition.type == "Ready"), None)
    since = standing.lastTransitionTime if standing is not None and standing.status == status else now
    fresh = meta_v1.Condition(type="Ready", status=status, reason=reason, message=message, lastTransitionTime=since)
    return [*(condition for condition in current if condition.type != "Ready"), fresh]


def _is_going(one: networking_v1.ServiceCIDR) -> bool:
    return one.metadata is not None and one.metadata.deletionTimestamp is not None


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    return any(address in network for network in networks)
