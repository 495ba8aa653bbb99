"""The APIServices as the server works with them, and clients of those that others serve.

Source: k8s.io/kube-aggregator/pkg/apiserver/{apiserver,handler_proxy}.go, pkg/apis/apiregistration/v1/helper (v1.37).
"""

import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from knarr.api.user import MASTERS, User
from knarr.apiserver import webhooks
from knarr.apiserver.config import Config
from knarr.apiserver.customresources.definitions import rank
from knarr.apiserver.proxy import services
from knarr.apiserver.registry import Registry
from knarr.kit.http import client as clients

Object = dict[str, Any]

RESOURCE = "apiservices.apiregistration.k8s.io"
AGGREGATOR = User("system:kube-aggregator", (MASTERS,))
"""Who asks for documents and whether a server is there."""
CLIENTS_KEPT = 128
_TIMEOUTS = clients.Timeouts(connect_s=10.0, response_s=None, idle_s=30.0)


@dataclass(frozen=True, slots=True)
class Registration:
    """One APIService.

    Attributes:
        name: Its name.
        group: The API group.
        version: The version.
        group_priority: Groups with a higher one come first.
        version_priority: Versions of a group with a higher one come first.
        service: (namespace, name, port) of whom serves it; None for this server.
        bundle: The authority of their certificate, PEM in base64; empty means the system's.
        insecure: Whether their certificate is not verified.
        is_available: Whether they can be reached.
    """

    name: str
    group: str
    version: str
    group_priority: int = 0
    version_priority: int = 0
    service: tuple[str, str, int] | None = None
    bundle: str = ""
    insecure: bool = False
    is_available: bool = False

    @property
    def path(self) -> str:
        """Where its documents and resources begin."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def server_name(self) -> str:
        """The name that the certificate of a remote one must carry."""
        assert self.service is not None
        return f"{self.service[1]}.{self.service[0]}.svc"


def read(obj: Mapping[str, Any]) -> Registration:
    """Read an APIService."""
    spec, service = obj["spec"], obj["spec"].get("service")
    return Registration(
        obj["metadata"]["name"],
        spec.get("group") or "",
        spec.get("version") or "",
        spec.get("groupPriorityMinimum") or 0,
        spec.get("versionPriority") or 0,
        (service["namespace"], service["name"], service.get("port") or services.DEFAULT_PORT) if service else None,
        spec.get("caBundle") or "",
        bool(spec.get("insecureSkipTLSVerify")),
        (available(obj) or {}).get("status") == "True",
    )


def available(obj: Mapping[str, Any]) -> Object | None:
    """Return the condition that says whether an APIService can be reached."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            found: Object = condition
            return found
    return None


class Registrations:
    """All APIServices.

    Args:
        config: Has the certificate that remote servers trust.
        registry: Has the objects.

    Attributes:
        generation: Grows with every change of what is registered, or of documents (`note_change`).
    """

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._all: dict[str, Registration] = {}
        self._remote: dict[tuple[str, str], Registration] = {}
        self._clients: OrderedDict[tuple[str, str, str, bool, int], clients.Client] = OrderedDict()
        self._callbacks: list[Callable[[str], None]] = []
        self.generation = 0
        for obj in registry.list(RESOURCE):
            self._follow(None, obj)
        registry.subscribe(RESOURCE, self._follow)

    def all(self) -> list[Registration]:
        """Return all, groups and versions in the order in which they are preferred."""
        first: dict[str, tuple[int, str]] = {}
        for one in self._all.values():
            place = -one.group_priority, one.name
            first[one.group] = min(first.get(one.group, place), place)
        return sorted(
            self._all.values(), key=lambda one: (first[one.group], -one.version_priority, rank(one.version), one.name)
        )

    def remote(self) -> list[Registration]:
        """Return those that others serve."""
        return list(self._remote.values())

    def get(self, name: str) -> Registration | None:
        """Return one by its name."""
        return self._all.get(name)

    def find(self, path: str) -> Registration | None:
        """Return who else serves a path; None if this server does."""
        if not self._remote:
            return None
        words = path.split("/", 4)
        if len(words) < 4 or words[0] or words[1] != "apis":
            return None
        return self._remote.get((words[2], words[3]))

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of an APIService that was made, deleted, or changed in more than its status."""
        self._callbacks.append(callback)

    def note_change(self) -> None:
        """Make known that documents of a remote server have changed."""
        self.generation += 1

    async def client(self, one: Registration, *, verify: bool = True) -> clients.Client:
        """Return a client of one of the servers behind a remote registration.

        Args:
            one: A remote one.
            verify: Whether their certificate is to be verified as configured.

        Raises:
            NotFound: its Service is gone.
            ServiceUnavailable: nobody stands behind it.
            CallFailed: its bundle holds no certificates.
        """
        assert one.service is not None
        host, port = services.locate(self._registry, self._config.random, *one.service)
        base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        insecure = one.insecure or not verify
        pair = self._config.front_proxy_client
        stamp = pair.certificate.stat().st_mtime_ns if pair is not None else 0
        key = (base, one.server_name, "" if insecure else one.bundle, insecure, stamp)
        client = self._clients.get(key)
        if client is None:
            context = self._context(one.bundle, insecure=insecure)
            client = clients.Client(base, tls=context, server_hostname=one.server_name, timeouts=_TIMEOUTS)
            self._clients[key] = client
            if len(self._clients) > CLIENTS_KEPT:
                _, unused = self._clients.popitem(last=False)
                await unused.aclose()
        else:
            self._clients.move_to_end(key)
        return client

    async def aclose(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _context(self, bundle: str, *, insecure: bool) -> ssl.SSLContext:
        if insecure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = webhooks.verifying(bundle)
        pair = self._config.front_proxy_client
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def _follow(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        name = obj["metadata"]["name"]
        before = self._all.pop(name, None)
        if before is not None:
            self._remote.pop((before.group, before.version), None)
        after = read(new) if new is not None else None
        if after is not None:
            self._all[name] = after
            if after.service is not None and after.group:
                self._remote[after.group, after.version] = after
        if before != after:
            self.generation += 1
        if _apart_from_status(before) != _apart_from_status(after):
            for callback in self._callbacks:
                callback(name)


def _apart_from_status(one: Registration | None) -> Registration | None:
    return None if one is None else replace(one, is_available=False)
