"""The part of the nftables table that is the same for every Service: maps, base chains and the road that a packet takes.

A new connection to a Service is looked up by destination address, protocol and port in `service-ips` (or, for addresses of the node, by
protocol and port in `service-nodeports`), which says how to spread it. The chain `backends/3` draws a number below 3 and looks up
destination and number in the map `backends`: so a Service is a handful of map elements and has no chains of its own, and the price
of changing one does not depend on how many there are. What was not translated and still carries an address of ours after the
nat hooks has no endpoint and is rejected.

Chains are named as kube-proxy's where they do the same. Source: pkg/proxy/nftables/README.md (v1.37).
"""

from dataclasses import dataclass

MASQUERADE_MARK = 0x4000
"""Bit of the packet mark that asks for masquerading; kube-proxy's default."""


@dataclass(frozen=True, slots=True)
class Family:
    """How nftables speaks of one address family.

    Attributes:
        name: Of the table's family and of the header.
        address_type: The data type of its addresses.
        loopback: The range of addresses that never leave the machine.
    """

    name: str
    address_type: str
    loopback: str


IPV4 = Family("ip", "ipv4_addr", "127.0.0.0/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A proxy's table and the fixed facts that its rules mention.

    Attributes:
        name: Name of the table.
        bridge: Interface of this node's pods.
        pod_cidr: Addresses of all pods of the cluster.
        service_cidr: Addresses of Services.
        dns_address: Served on the node itself, never translated.
        family: The address family.
    """

    name: str
    bridge: str
    pod_cidr: str
    service_cidr: str
    dns_address: str
    family: Family = IPV4

    @property
    def path(self) -> str:
        """Family and name, as nft's commands want them."""
        return f"{self.family.name} {self.name}"


SPREAD_MAPS = ("backends", "local-backends", "nodeport-backends", "local-nodeport-backends")
"""The maps that connections are spread by; each has a chain for each number of endpoints, such as `backends/3`."""


def format_skeleton(table: Table, *, spread_limit: int) -> str:
    """Return nft commands that put a table with nothing but the skeleton in the place of whatever is there.

    Args:
        table: The table.
        spread_limit: Up to how many endpoints there are chains for. More are had by another skeleton: nft 1.0.6 mistakes
            rules over maps of computed types that it has to read back from the kernel.
    """
    ip, address = table.family.name, table.family.address_type
    by_address = f"{address} . inet_proto . inet_service"
    by_port = "inet_proto . inet_service"
    target = f"{ip} daddr . th dport"
    numbered = "meta l4proto . th dport . numgen random mod 2"
    return f"""\
add table {table.path}
delete table {table.path}
table {table.path} {{
  map service-ips {{ type {by_address} : verdict; }}
  map service-nodeports {{ type {by_port} : verdict; }}
  map backends {{ typeof {ip} daddr . {numbered} : {target}; }}
  map local-backends {{ typeof {ip} daddr . {numbered} : {target}; }}
  map nodeport-backends {{ typeof {numbered} : {target}; }}
  map local-nodeport-backends {{ typeof {numbered} : {target}; }}
  map no-endpoint-services {{ type {by_address} : verdict; }}
  map no-endpoint-nodeports {{ type {by_port} : verdict; }}
  map firewall-ips {{ type {by_address} : verdict; }}
  set hairpin-connections {{ type {address} . {address}; }}

{_format_spreads(ip, spread_limit)}
  chain reject-chain {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark | {MASQUERADE_MARK:#x}
  }}
  chain services {{
    {ip} daddr {table.dns_address} return
    {ip} daddr {table.service_cidr} {ip} saddr != {table.pod_cidr} jump mark-for-masquerade
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }}
  chain masquerading {{
    ct status & dnat == dnat meta mark & {MASQUERADE_MARK:#x} != 0 masquerade fully-random
    ct status & dnat == dnat {ip} saddr . {ip} daddr @hairpin-connections masquerade fully-random
    {ip} saddr {table.pod_cidr} {ip} daddr != {table.pod_cidr} oifname != {{ "{table.bridge}", "lo" }} masquerade fully-random
  }}
  chain endpoints-check {{
    {ip} daddr {table.dns_address} return
    {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services
    fib daddr type local meta l4proto . th dport vmap @no-endpoint-nodeports
    {ip} daddr {table.service_cidr} fib daddr type != local goto reject-chain
  }}
  chain firewall-check {{
    {ip} daddr . meta l4proto . th dport vmap @firewall-ips
  }}

  chain nat-prerouting {{
    type nat hook prerouting priority -100; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority 100; policy accept;
    jump masquerading
  }}
  chain raw-prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname "{table.bridge}" {ip} daddr {table.family.loopback} drop
  }}
  chain filter-prerouting {{
    type filter hook prerouting priority -110; policy accept;
    ct state new jump firewall-check
  }}
  chain filter-prerouting-post-dnat {{
    type filter hook prerouting priority -90; policy accept;
    ct state new jump endpoints-check
  }}
  chain filter-output {{
    type filter hook output priority -110; policy accept;
    ct state new jump firewall-check
  }}
  chain filter-output-post-dnat {{
    type filter hook output priority -90; policy accept;
    ct state new jump endpoints-check
  }}
}}
"""


def _format_spreads(ip: str, limit: int) -> str:
    chains = []
    for name in SPREAD_MAPS:
        key = "meta l4proto . th dport" if "nodeport" in name else f"{ip} daddr . meta l4proto . th dport"
        for number in range(1, limit + 1):
            # Between two generations of the map a drawn number may be missing; the first endpoint never is.
            rules = "\n".join(
                f"    meta l4proto {{ tcp, udp, sctp }} dnat {ip} to {key} . numgen random mod {count} map @{name}"
                for count in dict.fromkeys((number, 1))
            )
            chains.append(f"  chain {name}/{number} {{\n{rules}\n  }}\n")
    return "".join(chains)
