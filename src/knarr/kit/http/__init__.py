"""HTTP/1.1 over asyncio: messages, server and client, with upgrades and streamed bodies."""
