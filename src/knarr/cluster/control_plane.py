"""The server process: API server on its store, with controllers and scheduler beside it.

Controllers and scheduler reach the API server by calls in this process, each as its own user; nothing else is shared.
"""

import asyncio
import contextlib
import datetime
import gc
import logging
from random import Random

from knarr.api import user
from knarr.apiserver import config as apiserver_config
from knarr.apiserver import server as apiserver
from knarr.apiserver.audit.errors import BadPolicy
from knarr.apiserver.authn.errors import BadConfiguration as BadAuthentication
from knarr.apiserver.authz.configuration import BadConfiguration as BadAuthorization
from knarr.apiserver.encryption.errors import BadConfiguration, Undecryptable
from knarr.apiserver.remote import BadRemote
from knarr.client import Client, transport
from knarr.cluster import components, credentials, join, serveroptions, snapshots
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.serveroptions import ServerOptions
from knarr.cluster.settings import Settings
from knarr.control import context as contexts
from knarr.controllers import localpath
from knarr.kit import clock as clocks
from knarr.kit.tasks import Supervisor
from knarr.network import objects as network_objects
from knarr.store import places
from knarr.store.errors import BadAddress

RENEWAL_S = 3600.0
"""Certificates are looked at this often; they are renewed long before they end."""

_BAD_FILES = (BadPolicy, BadConfiguration, BadRemote, Undecryptable, BadAuthentication, BadAuthorization)
"""What is wrong with the files that an administrator gave; the message says which and what."""

logger = logging.getLogger(__name__)


async def serve(layout: Layout, decided: Settings, stopping: asyncio.Event, told: ServerOptions | None = None) -> None:
    """Run the control plane until told to stop.

    Args:
        layout: Where its files are.
        decided: What the cluster is made of.
        stopping: Ends it.
        told: What the administrator wants of the API server; None reads `server.json`.
    """
    told = told if told is not None else serveroptions.load(layout)
    clock, random = clocks.SystemClock(), Random()
    planned = snapshots.schedule(layout, told)
    try:
        given = _apiserver_config(layout, decided, told)
    except BadAddress as err:
        raise UsageError(str(err)) from err
    config = serveroptions.apply(told, given, layout)
    async with contextlib.AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(apiserver.open_apiserver(config))
        except _BAD_FILES as err:
            raise UsageError(str(err)) from err
        tasks = Supervisor("server", clock=clock, random=random)
        admin = Client(transport.InProcessTransport(server.handler, user.User("system:apiserver", (user.MASTERS,))))
        tasks.run("network-objects", lambda: network_objects.ensure(admin, dns_address=decided.dns_address))
        starts = _components(told)
        tasks.run("storage-objects", lambda: localpath.ensure(admin, root=str(layout.data / "storage")))
        authority = (layout.pki / "ca.crt").read_bytes()
        url = decided.advertised_url
        tasks.run("join-objects", lambda: join.ensure_objects(admin, url=url, authority=authority, facts=decided.facts))
        options = contexts.Options(
            root_ca=authority.decode(),
            cluster_cidr=decided.pod_cidr,
            signing_certificate=authority,
            signing_key=(layout.pki / "ca.key").read_bytes(),
        )
        components.run(
            tasks,
            server.handler,
            starts,
            identity=components.read_identity(layout.database.parent / "identity"),
            is_shared=config.is_shared,
            clock=clock,
            random=random,
            options=options,
        )
        await stack.enter_async_context(tasks)  # entered last: its tasks end before the server that they use
        if planned is not None:
            place = serveroptions.to_place(told, layout, otherwise=decided.store)
            tasks.run("snapshots", lambda: snapshots.run(planned, place, clock))
        tasks.run("certificates", lambda: _renew_certificates(layout, decided, clock))
        gc.freeze()  # modules and tables live as long as the process: never look at them again
        logger.info("cluster %s serves on port %d", decided.name, decided.api_port)
        await stopping.wait()


def _components(told: ServerOptions) -> list[tuple[str, components.Start]]:
    """Return what runs beside the API server: the process name of each, and how it starts."""
    found: list[tuple[str, components.Start]] = []
    # Imported here, behind an API server that answers already, and only what runs: a third of the imports are theirs.
    if told.controllers != ("-*",):
        from knarr.controllers import roster

        try:
            chosen = roster.select(told.controllers)
        except roster.UnknownController as err:
            raise UsageError(f"controllers: {err}") from err
        found.append((components.CONTROLLERS, lambda context, tasks: roster.run(context, tasks, chosen)))
    if told.scheduler:
        from knarr.scheduler import scheduler

        found.append((components.SCHEDULER, scheduler.run))
    return found


def _apiserver_config(layout: Layout, decided: Settings, told: ServerOptions) -> apiserver_config.Config:
    def pair(stem: str) -> apiserver_config.Pair:
        return apiserver_config.Pair(certificate=layout.pki / f"{stem}.crt", key=layout.pki / f"{stem}.key")

    place = serveroptions.to_place(told, layout, otherwise=decided.store)
    return apiserver_config.Config(
        backend=places.make(place.text, default=place.default, tls=place.tls),
        history=serveroptions.history(told),
        is_shared=places.is_shared(told.store or decided.store),
        host="",
        port=decided.api_port,
        serving=pair("apiserver"),
        client_ca=layout.pki / "ca.crt",
        front_proxy_ca=layout.pki / "front-proxy-ca.crt",
        front_proxy_client=pair("front-proxy-client"),
        kubelet_client=pair("apiserver-kubelet-client"),
        kubelet_ca=layout.pki / "ca.crt",
        signing_key=layout.pki / "sa.key",
        issuer=f"https://kubernetes.default.svc.{decided.domain}",
        advertise_address=decided.advertise_address,
        advertise_port=decided.api_port,
        service_cidrs=(decided.service_cidr,),
    )


async def _renew_certificates(layout: Layout, decided: Settings, clock: clocks.Clock) -> None:
    while True:
        await clock.sleep(RENEWAL_S)
        credentials.ensure(layout, decided, now=datetime.datetime.now(datetime.UTC))
