"""An API server in a process of its own, to be killed and paused: `python -m tests.live.store.server PORT STORE FOLDER`."""

import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from knarr.apiserver.config import Config
from knarr.apiserver.server import open_apiserver
from knarr.store import places

TOKEN = "clients"


async def serve(port: int, store: str, folder: Path) -> None:
    """Serve plain HTTP until killed."""
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{TOKEN},admin,1,"system:masters"\n')
    backend = places.make(store, default=folder / "state.db")
    async with open_apiserver(Config(backend=backend, port=port, token_auth_file=tokens)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
