"""The admission chain: plugins that may change an object, then plugins that may refuse it.

A plugin is a value: its name, what it looks at, and up to two coroutines. `admit` runs before the registry strategy and may
change `request.object`; `validate` runs after the object has been validated and must leave it alone. The chain finds out
once for each kind of request which plugins look at it, so that a request pays for those alone.

Upstream counterpart: k8s.io/apiserver/pkg/admission (v1.37).
"""

import random as randoms
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from knarr.api import errors
from knarr.api.schema import Type
from knarr.api.scheme import Resource
from knarr.api.user import User
from knarr.apiserver.admission.measures import ADMIT, VALIDATE, Durations
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.registry import Registry
from knarr.apiserver.webhooks import Webhooks
from knarr.kit.clock import Clock

Object = dict[str, Any]

CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
CONNECT = "CONNECT"


@dataclass(slots=True)
class AdmissionRequest:
    """One request on its way to the store.

    Attributes:
        operation: CREATE, UPDATE, DELETE or CONNECT.
        resource: What is asked for, in the version of the request.
        subresource: Such as "status"; empty for the object itself.
        namespace: Empty for cluster-scoped objects.
        name: Empty for a create whose name is to be generated, and for a deletecollection.
        object: The new object, decoded and with defaults set; None for DELETE.
        old: The object as it is stored; None for CREATE.
        user: Who asks.
        dry_run: Nothing will be stored: no side effects.
        options: The decoded CreateOptions, UpdateOptions, PatchOptions or DeleteOptions.
        warnings: Plugins append what the response should warn of.
        annotations: Plugins set what the audit log should note.
        kind: Of `object`, where it differs from the resource's: "Binding", "Eviction", "Scale".
        round: 0 while plugins are called for the first time, 1 when they are called again.
        call_again: Plugins ask for the second round by it.
        memory: What plugins keep from the first round for the second, by their names.
    """

    operation: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    object: Object | None = None
    old: Object | None = None
    user: User = field(default_factory=lambda: User(""))
    dry_run: bool = False
    options: Object = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    round: int = 0
    call_again: bool = False
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What plugins are chosen by: "pods", "deployments.apps", "pods/status"."""
        return f"{self.resource.qualified}/{self.subresource}" if self.subresource else self.resource.qualified

    @property
    def shown_name(self) -> str:
        """The name that refusals show: the object's, or what it will be generated from."""
        if self.name:
            return self.name
        metadata = (self.object or {}).get("metadata") or {}
        return metadata.get("name") or metadata.get("generateName") or "Unknown"

    def forbidden(self, why: str) -> errors.Forbidden:
        """Make the error by which a plugin refuses this request."""
        return errors.Forbidden(self.resource.group, self.resource.plural, self.shown_name, why)


Step = Callable[[AdmissionRequest], Awaitable[None]]
_Named = tuple[str, Step]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One admission plugin.

    Attributes:
        name: As upstream's, such as "NamespaceLifecycle".
        operations: Which operations it looks at.
        targets: Which `AdmissionRequest.target`s it looks at; None means all, subresources too.
        admit: Changes `request.object` or refuses.
        validate: Refuses, by raising a `StatusError`.
    """

    name: str
    operations: frozenset[str]
    targets: frozenset[str] | None = None
    admit: Step | None = None
    validate: Step | None = None

    def is_interested(self, operation: str, target: str) -> bool:
        """Return whether it looks at such requests."""
        return operation in self.operations and (self.targets is None or target in self.targets)


class Shapes(Protocol):
    """Objects in other versions of their kind, and made whole again after somebody has changed them."""

    async def convert(self, obj: Object, kind: Resource) -> Object:
        """Return an object in the version of `kind`; the same dict if it is in that version."""

    def settle(self, obj: Object, kind: Resource) -> Object:
        """Return an object checked against its schema, normalized and with defaults.

        Raises:
            InternalError: it is no object of that kind.
        """

    def type_of(self, kind: Resource) -> Type | None:
        """Return the schema of a kind, None if it has none."""


@dataclass(frozen=True, slots=True)
class Context:
    """What plugins are built from.

    Attributes:
        registry: Reads and writes objects.
        authorizer: Answers whether a user may do something.
        clock: Tells the time.
        random: Makes the random parts of names.
        webhooks: Calls out.
        shapes: Converts and completes what comes back.
        durations: Notes how long webhooks take.
    """

    registry: Registry
    authorizer: Authorizer
    clock: Clock
    random: randoms.Random
    webhooks: Webhooks
    shapes: Shapes
    durations: Durations = field(default_factory=Durations)


class Chain:
    """The plugins in their order.

    Args:
        plugins: Mutation and validation both run in this order.
        durations: Notes how long each takes; None notes it for nobody.
    """

    def __init__(self, plugins: Iterable[Plugin], durations: Durations | None = None) -> None:
        self.plugins = tuple(plugins)
        self._durations = durations or Durations()
        self._admit: dict[tuple[str, str], tuple[_Named, ...]] = {}
        self._validate: dict[tuple[str, str], tuple[_Named, ...]] = {}

    async def admit(self, request: AdmissionRequest) -> None:
        """Let the plugins change `request.object`; before the registry strategy.

        If one asks for it, all of them are called once more.

        Raises:
            StatusError: A plugin refuses.
        """
        key = (request.operation, request.target)
        steps = self._admit.get(key)
        if steps is None:
            steps = self._admit[key] = tuple((one.name, one.admit) for one in self._interested(*key) if one.admit)
        await self._run(steps, request, ADMIT)
        if request.call_again:
            request.round, request.call_again = 1, False
            await self._run(steps, request, ADMIT)

    async def validate(self, request: AdmissionRequest) -> None:
        """Let the plugins refuse the finished object; after it has been validated, right before it is stored.

        Raises:
            StatusError: A plugin refuses.
        """
        key = (request.operation, request.target)
        steps = self._validate.get(key)
        if steps is None:
            interested = self._interested(*key)
            steps = self._validate[key] = tuple((one.name, one.validate) for one in interested if one.validate)
        await self._run(steps, request, VALIDATE)

    async def _run(self, steps: tuple[_Named, ...], request: AdmissionRequest, kind: str) -> None:
        durations, operation = self._durations, request.operation
        started = before = time.perf_counter()
        name = ""
        try:
            for name, step in steps:
                await step(request)
                now = time.perf_counter()
                durations.controller(name, kind, operation, now - before, rejected=False)
                before = now
        except errors.StatusError:
            now = time.perf_counter()
            durations.controller(name, kind, operation, now - before, rejected=True)
            durations.step(kind, operation, now - started, rejected=True)
            raise
        durations.step(kind, operation, before - started, rejected=False)

    def _interested(self, operation: str, target: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if plugin.is_interested(operation, target)]
