"""Every backend against a plain list of states: whatever is written, what is read is what the model says."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.store.backend import Backend, Conflict, Event, Revision
from knarr.store.errors import Compacted
from knarr.store.memory import MemoryBackend
from knarr.store.sqlite import SqliteBackend

KEYS = [b"/a/1", b"/a/2", b"/b/1", b"/c"]

put = st.tuples(st.just("put"), st.sampled_from(KEYS), st.booleans())
drop = st.tuples(st.just("drop"), st.sampled_from(KEYS), st.booleans())
compact = st.tuples(st.just("compact"), st.integers(0, 10), st.none())
reopen = st.tuples(st.just("reopen"), st.none(), st.none())


class Model:
    """The state after each revision: key -> (created, modified)."""

    def __init__(self, first: int) -> None:
        self.states: dict[int, dict[bytes, tuple[int, int]]] = {first: {}}
        self.newest = self.compacted = first

    def write(self, key: bytes, expected: int, *, deletes: bool) -> bool:
        state = dict(self.states[self.newest])
        created, modified = state.get(key, (0, 0))
        if modified != expected or (deletes and not modified):
            return False
        self.newest += 1
        if deletes:
            del state[key]
        else:
            state[key] = (created or self.newest, self.newest)
        self.states[self.newest] = state
        return True

    def read(self, revision: int, start: bytes, end: bytes) -> list[tuple[bytes, int, int]]:
        state = self.states[revision]
        return [(key, *state[key]) for key in sorted(state) if start <= key and (not end or key < end)]


async def check(backend: Backend, model: Model) -> None:
    assert (backend.revision, backend.compacted) == (model.newest, model.compacted)
    for revision in range(min(model.states), model.newest + 1):
        for start, end in ((b"/", b""), (b"/a/", b"/a0"), (b"/a/2", b"/b/1")):
            if revision < model.compacted:
                with pytest.raises(Compacted):
                    await backend.list_range(start, end, revision=Revision(revision))
                continue
            found = await backend.list_range(start, end, revision=Revision(revision))
            entries = [(entry.key, entry.created, entry.modified) for entry in found.entries]
            assert entries == model.read(revision, start, end)
            limited = await backend.list_range(start, end, revision=Revision(revision), limit=1)
            assert (limited.entries, limited.more) == (found.entries[:1], len(entries) > 1)
    events = await backend.list_events(b"/", b"0", after=Revision(model.compacted), until=backend.revision)
    assert [event.revision for event in events] == list(range(model.compacted + 1, model.newest + 1))
    for event in events:
        before, after = model.states[event.revision - 1].get(event.key), model.states[event.revision].get(event.key)
        assert (event.previous and (event.previous.created, event.previous.modified)) == before
        assert (event.entry and (event.entry.created, event.entry.modified)) == after


async def play(backend: Backend, path: Path | None, steps: list[tuple[str, bytes, bool]]) -> None:
    await backend.open(lambda _events: None)
    model = Model(backend.revision)
    for what, argument, right in steps:
        if what == "compact":
            revision = max(model.newest - int(argument), 1)
            await backend.compact(Revision(revision))
            model.compacted = max(model.compacted, revision)
        elif what == "reopen":
            if path is not None:
                await backend.aclose()
                backend = SqliteBackend(path)
                found = await backend.open(lambda _events: None)
                entries = [(entry.key, entry.created, entry.modified) for entry in found.entries]
                assert entries == model.read(model.newest, b"", b"")
        else:
            expected = model.states[model.newest].get(argument, (0, 0))[1] + (not right)
            value = b'{"metadata":{"resourceVersion":""}}' if what == "put" else None
            result = await backend.write(argument, value, expected=Revision(expected))
            assert isinstance(result, Event if model.write(argument, expected, deletes=what == "drop") else Conflict)
    await check(backend, model)
    await backend.aclose()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(put, put, drop, compact, reopen), max_size=25))
def test_backends_behave_as_the_model(kind: str, steps: list[tuple[str, bytes, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db" if kind == "sqlite" else None
        asyncio.run(play(SqliteBackend(path) if path else MemoryBackend(), path, steps))
