"""What is said about an object."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client

NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that is waited for.

    Attributes:
        problem: What.
        source: Who says so: a scheduler plugin, a container, a condition, an event.
        remedies: What would mend it, all of it together.
        objects: Nodes or objects concerned, such as "n3" or "pod/web-1".
    """

    problem: str
    source: str = ""
    remedies: Sequence[str] = ()
    objects: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about an object.

    Attributes:
        object: Kind and name, such as "pod/web-1".
        namespace: Where it is.
        state: In a word or two, such as "Pending".
        is_fine: Whether there is nothing to mend.
        findings: What is wrong, the most telling first.
    """

    object: str
    namespace: str
    state: str
    is_fine: bool
    findings: Sequence[Finding] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield it as text."""
        yield f"{self.object} in {self.namespace}: {self.state}" + ("" if self.findings else ", nothing is wrong")
        for one in self.findings:
            yield f"- {one.problem}" + (f"  [{one.source}]" if one.source else "")
            if one.objects:
                yield f"    {_listed(one.objects)}"
            if one.remedies:
                yield f"    if {' and '.join(one.remedies)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


async def warnings(client: Client, namespace: str, uid: str, *, reasons: frozenset[str] = frozenset()) -> list[Finding]:
    """Return the newest warning of each reason about an object, but for some reasons that are told otherwise; none to who may not read."""
    fields = f"involvedObject.uid={uid},type=Warning"
    try:
        page = await client.list(core_v1.Event, namespace=namespace, fields=fields)
    except errors.Forbidden:
        return []
    newest: dict[str, core_v1.Event] = {}
    for event in page.items:
        if event.reason and event.reason not in reasons:
            newest[event.reason] = event
    return [
        Finding(f"{reason}: {event.message} (seen {event.count or 1} times)", "event")
        for reason, event in newest.items()
    ]
