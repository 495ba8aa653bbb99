"""Many calls at once, beginning with one: a quota or a broken webhook then refuses one call, not five hundred.

Source: slowStartBatch in pkg/controller/replicaset/replica_set.go (v1.37).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from knarr.api import errors

T = TypeVar("T")

NAMESPACE_TERMINATING = "NamespaceTerminating"


async def slow_start(items: Sequence[T], call: Callable[[T], Awaitable[None]]) -> tuple[int, errors.StatusError | None]:
    """Call for each item in batches of 1, 2, 4 and so on, until a batch has a failure.

    Returns:
        How many calls succeeded, and the first error.
    """
    succeeded, start, size = 0, 0, 1
    while start < len(items):
        batch = items[start : start + size]
        failures = [one for one in await asyncio.gather(*(_attempt(call, item) for item in batch)) if one is not None]
        succeeded += len(batch) - len(failures)
        if failures:
            return succeeded, failures[0]
        start, size = start + len(batch), size * 2
    return succeeded, None


async def all_at_once(items: Sequence[T], call: Callable[[T], Awaitable[None]]) -> errors.StatusError | None:
    """Call for every item side by side and return the first error."""
    results = await asyncio.gather(*(_attempt(call, item) for item in items))
    return next((one for one in results if one is not None), None)


def is_namespace_going(err: errors.StatusError) -> bool:
    """Tell whether something was refused because its namespace is being deleted: it is of no use to try again."""
    return any(cause.get("reason") == NAMESPACE_TERMINATING for cause in err.details.get("causes") or ())


async def _attempt(call: Callable[[T], Awaitable[None]], item: T) -> errors.StatusError | None:
    try:
        await call(item)
    except errors.StatusError as err:
        return err
    return None
