"""What the request handlers work with: the parts of one API server, and the facts of one call."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from knarr.api import errors
from knarr.api.schema import Definitions, Type
from knarr.api.scheme import Resource, Scheme
from knarr.api.user import User
from knarr.apiserver import keys, options
from knarr.apiserver.accessmeasures import AccessMeasures
from knarr.apiserver.admission.chain import Chain
from knarr.apiserver.aggregation.documents import RemoteDocuments
from knarr.apiserver.aggregation.registrations import Registrations
from knarr.apiserver.audit.auditor import Auditor
from knarr.apiserver.audit.record import Record
from knarr.apiserver.authn.authenticator import Authenticator
from knarr.apiserver.authn.legacytokens import LegacyTokens
from knarr.apiserver.authn.tokens import Issuer
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.config import Config
from knarr.apiserver.customresources.catalog import Catalog
from knarr.apiserver.encryption.backend import EncryptedBackend
from knarr.apiserver.flowcontrol.controller import Flow, FlowControl
from knarr.apiserver.metrics import Metrics
from knarr.apiserver.proxy.nodeagents import NodeAgents
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.apiserver.serviceips import ServiceIPs
from knarr.apiserver.webhooks import Webhooks
from knarr.kit import clock as clocks
from knarr.kit.http.messages import Request
from knarr.store import store as stores

Object = dict[str, Any]


@dataclass(slots=True)
class Parts:
    """The parts of one API server.

    Attributes:
        config: What it was told.
        store: Bytes and revisions.
        registry: The same, decoded.
        definitions: The schema of every kind.
        authenticator: Says who asks.
        authorizer: Says what they may do.
        issuer: Makes service account tokens.
        legacy_tokens: Accepts those that live in Secrets.
        chain: The admission plugins.
        service_ips: The addresses and ports in use by Services.
        node_agents: Reaches the nodes.
        metrics: Counts requests.
        access: Counts who comes in.
        flow: Gives requests their turn.
        auditor: Keeps the audit log; None if there is none.
        encrypted: Encrypts what is stored; None if nothing is.
        custom: The kinds that users define.
        webhooks: Calls webhooks.
        registrations: Who serves which group and version.
        remote_documents: What remote servers say of theirs.
        is_stopping: Whether the server is about to end, and wants clients to go elsewhere.
    """

    config: Config
    store: stores.Store
    registry: Registry
    definitions: Definitions
    authenticator: Authenticator
    authorizer: Authorizer
    issuer: Issuer
    legacy_tokens: LegacyTokens
    chain: Chain
    service_ips: ServiceIPs
    node_agents: NodeAgents
    metrics: Metrics
    access: AccessMeasures
    flow: FlowControl
    auditor: Auditor | None
    encrypted: EncryptedBackend | None
    custom: Catalog
    webhooks: Webhooks
    registrations: Registrations
    remote_documents: RemoteDocuments
    is_stopping: bool = False

    @property
    def clock(self) -> clocks.Clock:
        """Tells the time."""
        return self.config.clock

    @property
    def random(self) -> Random:
        """Draws names and addresses."""
        return self.config.random

    @property
    def scheme(self) -> Scheme:
        """The resources served at the moment."""
        return self.custom.scheme

    def type_of(self, resource: Resource) -> Type | None:
        """Return the schema of a kind, None if it has none."""
        if resource.custom:
            version = self.custom.of(resource)
            return None if version is None else version.type
        return self.definitions.get(resource.definition) if resource.definition in self.definitions else None

    def is_stale(self, key: bytes) -> bool:
        """Return whether what is stored at a key should be written anew although it does not change: with another key."""
        return self.encrypted is not None and self.encrypted.is_stale(key)

    def now(self) -> str:
        """Return the time as the API writes it, to the second."""
        return f"{self.clock.now().isoformat()[:19]}Z"


@dataclass(slots=True)
class Call:
    """One request on its way through the server.

    Attributes:
        request: As it came.
        info: What it means.
        user: Who asks.
        values: The query.
        warnings: What the response will warn of.
        flow: Where it waited for its turn; None if it did not need one.
        record: For the audit log; None if nothing is kept of it.
        annotations: What the audit log will note.
        waited_s: How long it waited for its turn.
    """

    request: Request
    info: RequestInfo
    user: User
    values: options.Values
    warnings: list[str] = field(default_factory=list)
    flow: Flow | None = None
    record: Record | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is about.

    Attributes:
        resource: In the version asked for.
        stored: The same in the version that is stored.
        subresource: Empty for the object itself.
        namespace: Empty for cluster scope and for all namespaces.
        name: Empty for a collection.
    """

    resource: Resource
    stored: Resource
    subresource: str
    namespace: str
    name: str

    @property
    def key(self) -> bytes:
        """Where the object stands in the store."""
        return keys.key(self.resource, self.namespace, self.name)

    def not_found(self) -> errors.NotFound:
        """Make the error that says that the object does not exist."""
        return errors.NotFound(self.resource.group, self.resource.plural, self.name)

    def conflict(self, why: str = errors.Conflict.MODIFIED) -> errors.Conflict:
        """Make the error that says that the object is not what the caller thinks."""
        return errors.Conflict(self.resource.group, self.resource.plural, self.name, why)
