"""A guestbook: messages are posted to a Redis leader and read from its followers, both found by Service name."""

import html
import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

LEADER = os.environ.get("LEADER", "redis-leader")
FOLLOWER = os.environ.get("FOLLOWER", "redis-follower")
KEY = "messages"
PAGE = """<!doctype html><title>Guestbook</title><h1>Guestbook</h1>
<form method=post action=/messages><input name=message autofocus><button>Post</button></form>
<ul>{items}</ul><p>served by {host}</p>"""


def call(host, *words):
    """Send one command to Redis and return its reply: bytes, an int or a list of them."""
    with socket.create_connection((host, 6379), timeout=5) as connection, connection.makefile("rwb") as stream:
        encoded = [word.encode() for word in words]
        stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
        stream.flush()
        return read_reply(stream)


def read_reply(stream):
    """Read one RESP value."""
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"*":
        return [read_reply(stream) for _ in range(int(rest))]
    if kind == b"$":
        return stream.read(int(rest) + 2)[:-2] if rest != b"-1" else None
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    raise OSError(line.decode() or "redis closed the connection")


def read_messages():
    """Return the messages as a follower has them, newest first."""
    return [message.decode() for message in call(FOLLOWER, "LRANGE", KEY, "0", "99")]


class Handler(BaseHTTPRequestHandler):
    """/ for people, /messages for programs, /healthz for the kubelet."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "text/plain", "ok\n")
        elif self.path == "/messages":
            self.guard(lambda: self.answer(200, "application/json", json.dumps(read_messages()) + "\n"))
        elif self.path == "/":
            self.guard(self.show)
        else:
            self.answer(404, "text/plain", "not found\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        message = parse_qs(body).get("message", [""])[0]
        if self.path != "/messages" or not message:
            self.answer(400, "text/plain", "POST message=TEXT to /messages\n")
            return
        self.guard(lambda: self.post(message))

    def post(self, message):
        call(LEADER, "LPUSH", KEY, message)
        self.answer(303, "text/plain", "posted\n", Location="/")

    def show(self):
        items = "".join(f"<li>{html.escape(message)}" for message in read_messages())
        self.answer(200, "text/html; charset=utf-8", PAGE.format(items=items, host=socket.gethostname()))

    def guard(self, act):
        try:
            act()
        except OSError as err:
            self.answer(503, "text/plain", f"redis: {err}\n")

    def answer(self, status, content_type, text, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it otherwise
    print(f"guestbook on {socket.gethostname()} since {time.strftime('%H:%M:%S')}", flush=True)
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
