"""Connections reach a server that lives, and come again when it dies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from knarr.kit import balancer, clock
from knarr.kit.balancer import Health, Target


@contextlib.asynccontextmanager
async def open_echo(name: bytes) -> AsyncIterator[Target]:
    """A server that answers everything with its name and what it was sent, and closes when the client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(name + data)
                await writer.drain()
            writer.write(b"bye")
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def ask(port: int, text: bytes = b"?") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


async def well(_target: Target) -> Health:
    return Health.WELL


def open_over(
    *targets: Target, probe: balancer.Probe = well
) -> contextlib.AbstractAsyncContextManager[balancer.Balancer]:
    return balancer.open_balancer(targets, probe, clock=clock.SystemClock())


async def test_a_target_that_refuses_connections_is_passed_over_and_tried_last() -> None:
    gone = Target("127.0.0.1", 1)
    async with open_echo(b"a") as first, open_echo(b"b") as second, open_over(gone, first, second) as made:
        assert await ask(made.port) == b"a?bye"
        assert made.order() == [first, second, gone]


async def test_connections_to_a_dead_target_are_cut_and_new_ones_go_elsewhere() -> None:
    found = {}

    async def probe(target: Target) -> Health:
        return found.get(target, Health.WELL)

    opened = open_echo(b"a"), open_echo(b"b")
    async with opened[0] as first, opened[1] as second, open_over(first, second, probe=probe) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"1")
        assert await reader.read(10) == b"a1"
        found[first] = Health.REFUSING
        await made.look()
        writer.write(b"2")
        assert await reader.read(10) == b"a2", "a target that takes no new work keeps what it has"
        assert await ask(made.port) == b"b?bye"
        found[first] = Health.DEAD
        await made.look()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(10) == b""
        writer.close()
        found[first] = Health.WELL
        await made.look()
        assert await ask(made.port) == b"a?bye"


async def test_much_data_passes_in_both_directions_unharmed() -> None:
    async with open_echo(b"") as target, open_over(target) as made:
        sent = bytes(range(256)) * 20_000
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent + b"bye"
        writer.close()


async def test_without_any_target_that_lives_the_client_is_told() -> None:
    async with open_over(Target("127.0.0.1", 1)) as made:
        with contextlib.suppress(ConnectionResetError):
            assert await ask(made.port) == b""


async def test_other_targets_take_over_while_old_connections_last() -> None:
    async with open_echo(b"a") as first, open_echo(b"b") as second, open_over(first) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"1")
        assert await reader.read(10) == b"a1"
        made.replace([second])
        assert made.targets == (second,)
        assert await ask(made.port) == b"b?bye"
        writer.write(b"2")
        assert await reader.read(10) == b"a2"
        writer.close()
