"""Runs the system's programs: nft, conntrack, ip."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence

from knarr.network.errors import CommandFailed

TIMEOUT_S = 60.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


async def run(command: Sequence[str], stdin: str = "") -> str:
    """Run a program and return what it prints.

    Raises:
        CommandFailed: It could not be started, failed, or took too long.
    """
    with _open_input(stdin) as source:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
                stdin=source,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as err:
            raise CommandFailed(command, str(err)) from err
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CommandFailed(command, f"no end after {TIMEOUT_S:.0f} s") from None
    if process.returncode:
        raise CommandFailed(command, complaint.decode(errors="replace").strip())
    return output.decode(errors="replace")


@contextlib.contextmanager
def _open_input(text: str) -> Iterator[int]:
    # A file in memory instead of a pipe: a program that ends without reading breaks nothing.
    if not text:
        yield asyncio.subprocess.DEVNULL
        return
    descriptor = os.memfd_create("input")
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
