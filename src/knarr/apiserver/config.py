"""What an API server is told at start: the counterpart of kube-apiserver's command line."""

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from knarr.apiserver.audit.settings import Settings as AuditSettings
from knarr.kit import clock as clocks
from knarr.store import backend as backends
from knarr.store import compaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its private key as PEM files, read again when they change."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one API server. Everything but the backend has a default that suits a test.

    Attributes:
        backend: Where objects are kept; not yet open.
        clock: Tells the time for timestamps, token lifetimes and timeouts.
        random: Draws generated names and addresses.
        history: How much of the past watches and lists can read.
        host: Address to listen on; empty means all.
        port: Port to listen on; 0 takes a free one; None listens nowhere: only the in-process transport is served.
        serving: The server's certificate; None (with a port) serves plain HTTP, for tests.
        client_ca: Authority of client certificates; None accepts none.
        front_proxy_ca: Authority of the proxies that may name a user in X-Remote-* headers.
        front_proxy_client: Credentials shown to aggregated API servers.
        kubelet_client: Credentials shown to node agents.
        kubelet_ca: Authority of the node agents' certificates; None trusts any, as kube-apiserver does by default.
        signing_key: Private key (PEM) of service account tokens; None makes one for this process.
        issuer: The issuer of service account tokens.
        audiences: Audiences that tokens may be meant for; empty means the issuer.
        token_auth_file: Static tokens, as CSV; None has none.
        authentication: The AuthenticationConfiguration; None accepts no other issuers.
        token_webhook: A kubeconfig file with the server that is asked about tokens; None asks nobody.
        authorization: The AuthorizationConfiguration; None means Node, then RBAC.
        anonymous: Whether requests without credentials are let in as system:anonymous.
        hostname: Of the machine; the server's identity is made of it.
        advertise_address: The address of this server in the `kubernetes` Service.
        advertise_port: Its port there; 0 means the one listened on.
        is_shared: Whether other API servers use the same backend.
        shutdown_delay_s: How long a server whose backend is shared goes on while it is no longer ready, so that clients move over.
        service_cidrs: Addresses of Services, one range a family, the primary one first.
        node_ports: First and last node port.
        disabled_admission: Names of admission plugins that are left out.
        enabled_admission: Names of plugins that run besides the default ones.
        loopback_backends: Whether proxied requests may go to this machine's loopback, where tests have their servers.
        max_requests: Most reads served at a time; 0 means any number.
        max_mutating_requests: Most writes served at a time; 0 means any number.
        request_timeout_s: How long a request may take that is neither a watch nor a stream.
        encryption: The EncryptionConfiguration of what is encrypted at rest; followed when it changes. None encrypts nothing.
        audit: What the audit log holds, and where it goes; None keeps none.
        logs_dir: The folder whose files are served at /logs; None serves none.
        min_watch_timeout_s: A watch without `timeoutSeconds` ends after one to two times this.
    """

    backend: backends.Backend
    clock: clocks.Clock = field(default_factory=clocks.SystemClock)
    random: Random = field(default_factory=Random)
    history: compaction.History = compaction.DEFAULT
    host: str = "127.0.0.1"
    port: int | None = None
    serving: Pair | None = None
    client_ca: Path | None = None
    front_proxy_ca: Path | None = None
    front_proxy_client: Pair | None = None
    kubelet_client: Pair | None = None
    kubelet_ca: Path | None = None
    signing_key: Path | None = None
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    audiences: tuple[str, ...] = ()
    token_auth_file: Path | None = None
    authentication: Path | None = None
    token_webhook: Path | None = None
    authorization: Path | None = None
    anonymous: bool = True
    hostname: str = field(default_factory=socket.gethostname)
    advertise_address: str = "127.0.0.1"
    advertise_port: int = 0
    is_shared: bool = False
    shutdown_delay_s: float = 3.0
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_ports: tuple[int, int] = (30000, 32767)
    disabled_admission: tuple[str, ...] = ()
    enabled_admission: tuple[str, ...] = ()
    loopback_backends: bool = False
    max_requests: int = 400
    max_mutating_requests: int = 200
    request_timeout_s: float = 60.0
    min_watch_timeout_s: float = 1800.0
    audit: AuditSettings | None = None
    encryption: Path | None = None
    logs_dir: Path | None = None

    @property
    def service_address(self) -> str:
        """The address of the `kubernetes` Service: the first of the primary range."""
        return str(ipaddress.ip_network(self.service_cidrs[0])[1])
