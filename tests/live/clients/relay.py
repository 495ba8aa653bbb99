"""A TCP relay in front of the API server whose connections a test can cut, as a network does: without a goodbye."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

CHUNK_BYTES = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class Relay:
    """Passes bytes between a port of its own and another one of this machine, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    def cut(self) -> int:
        """Reset all connections that are open now, and return how many there were; new ones are let through."""
        return asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        """Listen until the end of the block."""
        thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        thread.start()
        listening = asyncio.start_server(self._connected, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(server.close)
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _cut(self) -> int:
        found = self._connections
        self._connections = {}
        for ends in found.values():
            for end in ends:
                if not end.is_closing():
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.transport.abort()
        await asyncio.gather(*found)
        return len(found)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._connections[task] = (writer, far_writer)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        self._connections.pop(task, None)
        writer.close()
        far_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
            if not writer.is_closing():
                writer.write_eof()
