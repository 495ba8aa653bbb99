"""The bridge that a node's pods hang on, and what the kernel must allow for it.

Everything may be repeated: `ip` is told to replace, and sysctls are written only when they differ.
"""

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from knarr.network import commands
from knarr.network.errors import CommandFailed

_SYS = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """How a bridge shall be.

    Attributes:
        name: Name of the interface.
        gateway: The pods' gateway with the prefix length of their range ("10.244.0.1/24"); empty while there is no range yet.
        dns_address: Where cluster DNS listens.
        service_cidr: Routed here, so that the node itself reaches Services even without a default route.
    """

    name: str
    gateway: str
    dns_address: str
    service_cidr: str


async def ensure(bridge: Bridge) -> None:
    """Make the bridge, its addresses and routes as they shall be, and switch on forwarding.

    Raises:
        CommandFailed: The kernel refuses.
    """
    name = bridge.name
    if not await _exists(name):
        # An address of its own: otherwise it takes the lowest of its ports', and changes as pods come and go.
        address = ":".join(["02", *(f"{byte:02x}" for byte in secrets.token_bytes(5))])
        await commands.run(["ip", "link", "add", name, "address", address, "type", "bridge"])
    await commands.run(["ip", "link", "set", name, "up"])
    await _ensure_addresses(bridge)
    if bridge.gateway:
        source = bridge.gateway.partition("/")[0]
        await commands.run(["ip", "route", "replace", bridge.service_cidr, "dev", name, "src", source])
    await _allow(name)


async def _ensure_addresses(bridge: Bridge) -> None:
    present, dns = await _addresses(bridge.name), f"{bridge.dns_address}/32"
    wanted = [bridge.gateway, dns]  # in this order: the CNI plugin takes the first for its own
    if not bridge.gateway:  # the agent has just started: pods of before may still use the gateway that is there
        wanted = present if dns in present else [*present, dns]
    if present[: len(wanted)] == wanted[: len(present)]:
        stale, missing = present[len(wanted) :], wanted[len(present) :]
    else:
        stale, missing = present, wanted
    for address in stale:
        await commands.run(["ip", "address", "del", address, "dev", bridge.name])
    for address in missing:
        await commands.run(["ip", "address", "add", address, "dev", bridge.name])


async def remove(name: str) -> None:
    """Remove the bridge, with it its addresses and routes, and the firewall rules that let it through."""
    await _close_firewall(name)
    if await _exists(name):
        await commands.run(["ip", "link", "del", name])


async def default_mtu() -> int:
    """Return the MTU of the interface that the default route uses, or 0 without one."""
    words = (await commands.run(["ip", "-o", "-4", "route", "show", "default"])).split()
    if "dev" not in words:
        return 0
    link = (await commands.run(["ip", "-o", "link", "show", words[words.index("dev") + 1]])).split()
    return int(link[link.index("mtu") + 1])


async def _exists(name: str) -> bool:
    try:
        await commands.run(["ip", "link", "show", name])
    except CommandFailed:
        return False
    return True


async def _addresses(name: str) -> list[str]:
    words = (await commands.run(["ip", "-o", "-4", "address", "show", "dev", name])).split()
    return [words[i + 1] for i, word in enumerate(words) if word == "inet"]


async def _allow(name: str) -> None:
    _sysctl("ipv4/ip_forward", "1")
    # 127.0.0.1:NODEPORT on the node ends at a pod; the proxy drops what pods send to such addresses.
    _sysctl(f"ipv4/conf/{name}/route_localnet", "1")
    # Pods of one bridge talk through it directly; their answers must pass the connection tracker all the same.
    if not (_SYS / "bridge").exists():
        await commands.run(["modprobe", "br_netfilter"])
    await commands.run(["ip", "link", "set", name, "type", "bridge", "nf_call_iptables", "1"])
    await _open_firewall(name)


def _sysctl(key: str, value: str) -> None:
    path = _SYS / key
    if path.read_text().strip() != value:
        path.write_text(value)


def _firewall_rules(name: str) -> list[list[str]]:
    return [
        ["FORWARD", "-i", name, "-j", "ACCEPT"],
        ["FORWARD", "-o", name, "-j", "ACCEPT"],
        ["INPUT", "-i", name, "-j", "ACCEPT"],
    ]


async def _open_firewall(name: str) -> None:
    """Let pods through the machine's own firewall, where it has one: Docker and others drop what they do not know.

    Accepting in a table of ours would not help: every table must accept.
    """
    if shutil.which("iptables", path=commands.PATH) is None:
        return
    for rule in _firewall_rules(name):
        present = (await commands.run(["iptables", "-w", "-S", rule[0]])).splitlines()
        is_open = present in ([], [f"-P {rule[0]} ACCEPT"])
        if not is_open and f"-A {' '.join(rule)}" not in present:
            await commands.run(["iptables", "-w", "-I", *rule])


async def _close_firewall(name: str) -> None:
    if shutil.which("iptables", path=commands.PATH) is None:
        return
    for rule in _firewall_rules(name):
        with contextlib.suppress(CommandFailed):  # it was not there
            await commands.run(["iptables", "-w", "-D", *rule])
