"""exec, attach and port-forward: between clients (WebSocket or SPDY) and the runtime's streaming server (SPDY)."""
