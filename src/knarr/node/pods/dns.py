"""resolv.conf and /etc/hosts of a pod.

Source: pkg/kubelet/network/dns/dns.go, pkg/kubelet/kubelet_pods.go managedHostsFileContent (v1.37).
"""

from collections.abc import Iterable
from pathlib import Path

from lightkube.models import core_v1

from knarr.node.pods.spec import host_name, is_host_network, namespace_of, spec_of
from knarr.node.runtime.runtime import Dns

MAX_SERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_LENGTH = 2048
_STUB = "127.0.0.53"  # systemd-resolved's own address, of no use inside a pod
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
fe00::\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def read_host_dns(path: Path = Path("/etc/resolv.conf")) -> Dns:
    """Read the machine's resolver configuration, behind systemd-resolved's if that is in front."""
    dns = parse_resolv_conf(path.read_text()) if path.exists() else Dns()
    if _STUB in dns.servers and _RESOLVED.exists():
        return parse_resolv_conf(_RESOLVED.read_text())
    return dns


def parse_resolv_conf(text: str) -> Dns:
    """Read resolv.conf: the last search or domain line counts."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if not words:
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = tuple(word.rstrip(".") or "." for word in words[1:])
        elif words[0] == "options":
            options.extend(words[1:])
    return Dns(tuple(servers), searches, tuple(dict.fromkeys(options)))


def pod_dns(pod: core_v1.Pod, *, host: Dns, cluster_servers: tuple[str, ...], domain: str) -> Dns:
    """Return a pod's resolver configuration by its DNS policy and dnsConfig.

    Args:
        pod: The pod.
        host: The machine's own.
        cluster_servers: Addresses of the cluster's DNS; empty falls back to the machine's.
        domain: The cluster's domain.
    """
    spec = spec_of(pod)
    policy = spec.dnsPolicy or "ClusterFirst"
    if policy == "ClusterFirst" and is_host_network(pod):
        policy = "Default"
    if policy == "None":
        dns = Dns()
    elif policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster_servers:
        zone = f"svc.{domain}"
        searches = (f"{namespace_of(pod)}.{zone}", zone, domain, *host.searches)
        dns = Dns(cluster_servers, _unique(searches), ("ndots:5",))
    else:
        dns = Dns(host.servers or ("127.0.0.1",), host.searches, host.options)
    if spec.dnsConfig is not None:
        dns = _merge(dns, spec.dnsConfig)
    return Dns(dns.servers[:MAX_SERVERS], _fit(dns.searches), dns.options)


def hosts_file(pod: core_v1.Pod, *, ips: Iterable[str], domain: str, host_file: str) -> str:
    """Return what a pod's /etc/hosts says.

    Args:
        pod: The pod.
        ips: Its addresses.
        domain: The cluster's domain.
        host_file: The machine's /etc/hosts, the base in the host's network.
    """
    if is_host_network(pod):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        name, full = host_name(pod, domain)
        names = f"{name}.{full}\t{name}" if full else name
        text = _HOSTS + "".join(f"{ip}\t{names}\n" for ip in ips)
    aliases = spec_of(pod).hostAliases or []
    if aliases:
        lines = [f"{alias.ip}\t" + "\t".join(alias.hostnames or []) for alias in aliases]
        text += "\n# Entries added by HostAliases.\n" + "\n".join(lines) + "\n"
    return text


def _merge(dns: Dns, extra: core_v1.PodDNSConfig) -> Dns:
    options: dict[str, str] = {}
    for option in dns.options:
        name, _, value = option.partition(":")
        options[name] = value
    for added in extra.options or []:
        options[added.name or ""] = added.value or ""
    return Dns(
        _unique((*dns.servers, *(extra.nameservers or []))),
        _unique((*dns.searches, *(extra.searches or []))),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


def _fit(searches: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    for search in searches[:MAX_SEARCHES]:
        if len(" ".join([*kept, search])) <= MAX_SEARCH_LENGTH:
            kept.append(search)
    return tuple(kept)


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
