"""Where etcd is, and how to speak to it: `etcd://host:port,host:port/prefix` and the files of TLS."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from knarr.store.errors import BadAddress
from knarr.store.etcd import layout

SCHEME = "etcd://"
PORT = 2379


class Endpoint(msgspec.Struct, frozen=True):
    """One member of an etcd cluster, as its clients reach it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Files(msgspec.Struct, frozen=True):
    """The files of TLS, as kube-apiserver names them; with none of them the connection is plain.

    Attributes:
        ca: --etcd-cafile, the authority of etcd's certificates.
        certificate: --etcd-certfile, which is shown to etcd.
        key: --etcd-keyfile, of the certificate.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def to_context(self) -> ssl.SSLContext | None:
        """Read the files.

        Raises:
            BadAddress: A file is missing or makes no sense.
        """
        if self.ca is None and self.certificate is None:
            return None
        if (self.certificate is None) != (self.key is None):
            raise BadAddress("--etcd-certfile and --etcd-keyfile belong together: give both or none")
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as err:  # ssl.SSLError is one
            raise BadAddress(f"the TLS files of etcd cannot be used: {err}") from err
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        return context


class Address(msgspec.Struct, frozen=True):
    """A parsed address.

    Attributes:
        endpoints: The members, in the order given.
        prefix: Where the cluster's keys stand.
    """

    endpoints: tuple[Endpoint, ...]
    prefix: bytes = layout.ROOT


def parse(text: str) -> Address:
    """Read an address.

    Args:
        text: Such as "etcd://10.0.0.1:2379,10.0.0.2:2379/registry"; port 2379 and prefix /registry may be left out.

    Raises:
        BadAddress: It is none.
    """
    if not text.startswith(SCHEME):
        raise BadAddress(f"{text!r} is no address of etcd: expected etcd://host:port,host:port/prefix")
    hosts, _, path = text[len(SCHEME) :].partition("/")
    prefix = "/" + path.strip("/") if path.strip("/") else layout.ROOT.decode()
    endpoints = []
    for part in hosts.split(","):
        try:
            parts = urlsplit(f"//{part}")
            host, port = parts.hostname, parts.port or PORT
        except ValueError as err:
            raise BadAddress(f"{text!r}: {part!r} is no host and port: {err}") from err
        if not host or parts.path or parts.username:
            raise BadAddress(f"{text!r}: {part!r} is no host and port")
        endpoints.append(Endpoint(host, port))
    return Address(tuple(endpoints), prefix.encode())
