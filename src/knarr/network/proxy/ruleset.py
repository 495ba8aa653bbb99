"""The rules of all Services together, and the nft commands that bring the kernel from one state of them to the next.

Each owner (a Service) hands in its rules whole; what it shares with others (a chain that spreads over three endpoints) stays until the
last owner lets go. Only keys that an owner touched are compared, so that a change costs what it changes. Commands of one text
are one transaction: the kernel takes all or nothing.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from knarr.network.proxy.rules import CHAIN, SET, SPREAD, Key, Rules
from knarr.network.proxy.skeleton import Table, format_skeleton


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one key.

    Attributes:
        key: Which.
        old: The value in the kernel, or None.
        new: The value wanted, or None.
    """

    key: Key
    old: str | None
    new: str | None


class Ruleset:
    """The rules wanted, by owner, and which of them the kernel has."""

    def __init__(self) -> None:
        self._by_owner: dict[Hashable, Rules] = {}
        self._owners: dict[Key, tuple[Hashable, ...]] = {}
        self._applied: dict[Key, str] = {}
        self._touched: set[Key] = set()

    def replace(self, owner: Hashable, rules: Rules) -> None:
        """Make `rules` all that `owner` wants. Where two want different values, the one who came first has it."""
        old = self._by_owner.get(owner, {})
        for key in old.keys() - rules.keys():
            left = tuple(one for one in self._owners[key] if one != owner)
            if left:
                self._owners[key] = left
            else:
                del self._owners[key]
            self._touched.add(key)
        for key, value in rules.items():
            if key not in old:
                self._owners[key] = (*self._owners.get(key, ()), owner)
            elif old[key] == value:
                continue
            self._touched.add(key)
        if rules:
            self._by_owner[owner] = rules
        else:
            self._by_owner.pop(owner, None)

    def get(self, key: Key) -> str | None:
        """Return the value wanted for a key, or None."""
        owners = self._owners.get(key)
        return self._by_owner[owners[0]][key] if owners else None

    def changes(self) -> list[Change]:
        """Return what the kernel lacks or has too much, sorted by key."""
        found = (Change(key, self._applied.get(key), self.get(key)) for key in sorted(self._touched))
        return [change for change in found if change.old != change.new]

    def everything(self) -> list[Change]:
        """Return all that is wanted, as changes of an empty table, sorted by key."""
        return [Change(key, None, self.get(key)) for key in sorted(self._owners)]

    def mark_applied(self, changes: Iterable[Change], *, from_empty: bool) -> None:
        """Note that the kernel has taken `changes`."""
        if from_empty:
            self._applied.clear()
        for change in changes:
            if change.new is None:
                self._applied.pop(change.key, None)
            else:
                self._applied[change.key] = change.new
        self._touched.clear()


def format_changes(changes: Iterable[Change], table: Table) -> str:
    """Return nft commands that make `changes`; "" if there are none.

    The order keeps every reference valid: sets and chains come before the rules and elements that name them, and go after.
    """
    sets, chains, flushed, rules, gone = [], [], [], [], []
    removed: dict[str, list[str]] = defaultdict(list)
    added: dict[str, list[str]] = defaultdict(list)
    path = table.path
    for change in changes:
        group, name = change.key
        if group == SET:
            if change.new is None:
                gone.append(f"delete set {path} {name}")
            else:  # never replaced: everything that its declaration depends on is in its name
                sets.append(f"add set {path} {name} {{ {change.new} }}")
        elif group == SPREAD:
            continue  # the skeleton's
        elif group == CHAIN:
            if change.old is not None:
                flushed.append(f"flush chain {path} {name}")
            if change.new is None:
                gone.append(f"delete chain {path} {name}")
            else:
                chains.append(f"add chain {path} {name}")
                rules += [f"add rule {path} {name} {line}" for line in change.new.splitlines()]
        else:
            if change.old is not None:
                removed[group].append(name)
            if change.new is not None:
                added[group].append(f"{name} : {change.new}" if change.new else name)
    lines = [
        *sets,
        *chains,
        *flushed,
        *rules,
        *_format_elements("delete", path, removed),
        *_format_elements("add", path, added),
        *gone,
    ]
    return "".join(f"{line}\n" for line in lines)


def format_all(changes: Iterable[Change], table: Table, *, spread_limit: int) -> str:
    """Return nft commands that replace the table by the skeleton and `changes`, in one transaction."""
    return format_skeleton(table, spread_limit=spread_limit) + format_changes(changes, table)


def spread_needed(changes: Iterable[Change]) -> int:
    """Return the greatest number of endpoints that `changes` newly spread over, 0 for none."""
    return max((int(one.key[1]) for one in changes if one.key[0] == SPREAD and one.new is not None), default=0)


def _format_elements(verb: str, path: str, elements: Mapping[str, list[str]]) -> list[str]:
    return [f"{verb} element {path} {name} {{ {', '.join(found)} }}" for name, found in elements.items()]
