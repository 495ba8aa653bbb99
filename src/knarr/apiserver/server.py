"""The API server put together: the one place that knows all its parts.

`ApiServer.handler` answers requests from sockets and from within the process alike; the controllers and the scheduler of the
same process call it directly.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from knarr.api import schema
from knarr.api.scheme import BUILT_IN, Scheme
from knarr.apiserver import attributes, bootstrap, eventttl, identity, ipaddresses, servers, tls, tokensecrets
from knarr.apiserver.accessmeasures import AccessMeasures
from knarr.apiserver.admission import order, policies_status
from knarr.apiserver.admission.measures import Durations
from knarr.apiserver.admission.shapes import Shaper
from knarr.apiserver.aggregation.autoregister import Autoregister
from knarr.apiserver.aggregation.availability import Availability
from knarr.apiserver.aggregation.documents import RemoteDocuments
from knarr.apiserver.aggregation.registrations import Registrations
from knarr.apiserver.audit import auditor as auditing
from knarr.apiserver.audit.logfile import LogFile
from knarr.apiserver.audit.webhook import Webhook
from knarr.apiserver.authn import assembly as authn
from knarr.apiserver.authn import tokens
from knarr.apiserver.authn.legacytokens import LegacyTokens
from knarr.apiserver.authz import assembly as authz
from knarr.apiserver.config import Config
from knarr.apiserver.customresources.catalog import Catalog
from knarr.apiserver.customresources.establishing import CRDS, Establisher
from knarr.apiserver.encryption.backend import EncryptedBackend
from knarr.apiserver.errors import reject
from knarr.apiserver.flowcontrol import maintenance
from knarr.apiserver.flowcontrol.controller import FlowControl
from knarr.apiserver.handler import Handler
from knarr.apiserver.health import HOOKS, Check, Health
from knarr.apiserver.metrics import Metrics
from knarr.apiserver.parts import Parts
from knarr.apiserver.proxy.nodeagents import NodeAgents
from knarr.apiserver.registry import Registry
from knarr.apiserver.routes import Routes
from knarr.apiserver.serviceips import ServiceIPs
from knarr.apiserver.webhooks import Webhooks
from knarr.kit import tasks
from knarr.kit.http import server as http_server
from knarr.kit.http.messages import Handler as HttpHandler
from knarr.store import store as stores

SHUTDOWN_GRACE_S = 5.0


@dataclass(slots=True)
class ApiServer:
    """A running API server.

    Attributes:
        handler: Answers requests.
        parts: For those who assemble a process around it.
        address: Where it listens; empty if nowhere.
        port: Where it listens; 0 if nowhere.
    """

    handler: HttpHandler
    parts: Parts
    address: str = ""
    port: int = 0


@asynccontextmanager
async def open_apiserver(config: Config) -> AsyncIterator[ApiServer]:
    """Start an API server; leaving the context ends it in order.

    Args:
        config: What to serve, from which store, and where.

    Raises:
        StoreError: the store cannot be opened.
        OSError: the port is taken, or a file cannot be read.
    """
    async with AsyncExitStack() as stack:
        extractor = attributes.Extractor(BUILT_IN)
        encrypted = None if config.encryption is None else EncryptedBackend(config.backend, config.encryption)
        store = await stack.enter_async_context(
            stores.open_store(
                encrypted or config.backend, extract=extractor.extract, clock=config.clock, history=config.history
            )
        )
        metrics = Metrics()
        audited = auditing.build(config.audit, config.clock, metrics.registry)
        parts = _assemble(config, store, extractor, metrics, audited[0] if audited else None, encrypted)
        stack.push_async_callback(parts.node_agents.aclose)
        stack.push_async_callback(parts.webhooks.aclose)
        stack.push_async_callback(parts.registrations.aclose)
        parts.metrics.watch_store(store, lambda: parts.scheme)
        state = _State()
        routes = Routes(parts, Health(*_checks(state), metrics.registry))
        server = ApiServer(Handler(parts, routes).handle, parts)
        await bootstrap.ensure_objects(parts)
        await maintenance.ensure(parts)
        supervisor = await stack.enter_async_context(tasks.Supervisor("apiserver", clock=config.clock))
        for sink in audited[1] if audited else ():
            if isinstance(sink, Webhook):
                stack.push_async_callback(sink.aclose)
                supervisor.run("audit", sink.run)
            elif isinstance(sink, LogFile):
                stack.callback(sink.close)
        if encrypted is not None:
            supervisor.run("encryption", lambda: encrypted.keep_fresh(config.clock))
        establisher = Establisher(parts)
        stack.callback(parts.registry.subscribe(CRDS, establisher.follow))
        supervisor.run("customresources", establisher.run)
        autoregister, availability = Autoregister(parts), Availability(parts)
        await autoregister.start()
        supervisor.run("autoregister", autoregister.run)
        supervisor.run("availability", availability.run)
        supervisor.run("validatingadmissionpolicy-status", policies_status.Status(parts).run)
        supervisor.run("identity", lambda: identity.renew(parts))
        supervisor.run("identities", lambda: identity.sweep(parts))
        supervisor.run("events", lambda: eventttl.run(parts.registry, config.clock))
        supervisor.run("token-secrets", lambda: tokensecrets.fill(parts))
        supervisor.run("token-uses", parts.legacy_tokens.note_uses)
        supervisor.run("ipaddresses", lambda: ipaddresses.run(parts))
        supervisor.run("flowcontrol", parts.flow.run)
        supervisor.run("flowcontrol-statuses", parts.flow.keep_statuses)
        supervisor.run("flowcontrol-objects", lambda: maintenance.run(parts))
        await _listen(stack, config, server, supervisor)
        port = config.advertise_port or server.port or 443
        peers = servers.Servers(parts, port) if config.is_shared else None
        if peers is not None:
            await peers.start()
            supervisor.run("servers", peers.run)
        else:
            await bootstrap.ensure_service(parts, port)
            await bootstrap.ensure_endpoints(parts, port, [config.advertise_address])
        supervisor.run("bootstrap-controller", lambda: bootstrap.keep(parts, port))
        state.is_ready = True
        try:
            yield server
        finally:
            state.is_stopping = parts.is_stopping = True
            if peers is not None:
                # Others serve on: whoever is here moves over before this server closes its port.
                await peers.leave()
                await config.clock.sleep(config.shutdown_delay_s)


@dataclass(slots=True)
class _State:
    is_ready: bool = False
    is_stopping: bool = False


def _assemble(
    config: Config,
    store: stores.Store,
    extractor: attributes.Extractor,
    metrics: Metrics,
    auditor: auditing.Auditor | None,
    encrypted: EncryptedBackend | None,
) -> Parts:
    def on_custom(scheme: Scheme, storage: str) -> None:
        if extractor.follow(scheme, storage):
            store.reindex(f"/registry/{storage}/".encode())

    custom = Catalog(BUILT_IN, on_custom)
    registry = Registry(lambda: custom.scheme, store)
    custom.load(registry.list(CRDS))
    registry.subscribe(CRDS, custom.follow)
    issuer = tokens.build(config, registry)
    authorizer = authz.build(config, registry)
    service_ips = ServiceIPs(config.service_cidrs, config.node_ports, config.random)
    for service in registry.list("services"):
        service_ips.on_change(None, service)
    registry.subscribe("services", service_ips.on_change)
    webhooks, shaper = Webhooks(registry, config.random), Shaper()
    registrations = Registrations(config, registry)
    access = AccessMeasures(metrics.registry)
    legacy = LegacyTokens(issuer, registry, config.clock)
    parts = Parts(
        config=config,
        store=store,
        registry=registry,
        definitions=schema.built_in(),
        authenticator=authn.build(config, registry, issuer, access, legacy),
        authorizer=authorizer,
        issuer=issuer,
        chain=order.build(config, registry, authorizer, webhooks, shaper, Durations(metrics.registry)),
        service_ips=service_ips,
        node_agents=NodeAgents(config, registry),
        metrics=metrics,
        access=access,
        legacy_tokens=legacy,
        flow=FlowControl(registry, config.clock, metrics.registry, config.max_requests + config.max_mutating_requests),
        auditor=auditor,
        encrypted=encrypted,
        custom=custom,
        webhooks=webhooks,
        registrations=registrations,
        remote_documents=RemoteDocuments(registrations, config.clock),
    )
    shaper.attach(parts)
    return parts


async def _listen(stack: AsyncExitStack, config: Config, server: ApiServer, supervisor: tasks.Supervisor) -> None:
    if config.port is None:
        return
    context = tls.server_context(config)
    listening = await stack.enter_async_context(
        http_server.open_server(
            server.handler,
            host=config.host,
            port=config.port,
            tls=context,
            reject=reject,
            grace_s=SHUTDOWN_GRACE_S,
        )
    )
    server.address, server.port = listening.address, listening.port
    if context is not None:
        supervisor.run("certificates", lambda: tls.keep_fresh(context, config, config.clock))


def _checks(state: _State) -> tuple[dict[str, Check], dict[str, Check]]:
    def passes() -> str:
        return ""

    def is_bootstrapped() -> str:
        return "" if state.is_ready else "not finished"

    def is_running() -> str:
        return "process is shutting down" if state.is_stopping else ""

    live: dict[str, Check] = {"ping": passes, "log": passes, "etcd": passes, **dict.fromkeys(HOOKS, is_bootstrapped)}
    return live, {"etcd-readiness": passes, "informer-sync": passes, "shutdown": is_running}
