"""Writes of EndpointSlices, as values, and how they are carried out: what the controllers of slices share.

Upstream counterpart: the reconcilers' finalize in staging/src/k8s.io/endpointslice and pkg/controller/endpointslicemirroring (v1.37).
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from lightkube.models import discovery_v1

from knarr.api import errors
from knarr.client import Client
from knarr.control import expectations, informer
from knarr.controllers import batches


@dataclass(frozen=True, slots=True)
class Create:
    """Create a slice."""

    slice: discovery_v1.EndpointSlice


@dataclass(frozen=True, slots=True)
class Update:
    """Replace a slice."""

    slice: discovery_v1.EndpointSlice


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a slice."""

    slice: discovery_v1.EndpointSlice


Action = Create | Update | Delete


async def write(client: Client, expected: expectations.Expectations, key: str, actions: Sequence[Action]) -> None:
    """Carry out writes one after the other.

    Args:
        client: May write slices.
        expected: Told of what is created.
        key: Whose slices these are.
        actions: What to do.

    Raises:
        StatusError: A write was refused for another reason than that its object or its namespace is going.
    """
    creates = sum(isinstance(action, Create) for action in actions)
    if creates:
        expected.expect_creations(key, creates)
    for action in actions:
        match action:
            case Create(one):
                try:
                    await client.create(one)
                except errors.StatusError as err:
                    expected.saw_creation(key)
                    if not (batches.is_namespace_going(err) or isinstance(err, errors.NotFound)):
                        raise
            case Update(one):
                with contextlib.suppress(errors.NotFound):
                    await client.update(one)
            case Delete(one):
                with contextlib.suppress(errors.NotFound):
                    namespace, name = informer.key_of(one)
                    await client.delete(discovery_v1.EndpointSlice, name, namespace=namespace)
