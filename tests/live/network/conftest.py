"""A node in a network namespace of its own, pods on its bridge, and a machine outside of the cluster."""

import ctypes
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BRIDGE = "knarr0"
CLONE_NEWNET = 0x40000000
NODE_IP = "192.0.2.2"
OUTSIDE_IP = "192.0.2.99"

SERVER = """
import selectors, socket, sys
name, ports = sys.argv[1].encode(), [int(one) for one in sys.argv[2:]]
selector = selectors.DefaultSelector()
for port in ports:
    tcp = socket.create_server(("0.0.0.0", port), backlog=64)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    selector.register(tcp, selectors.EVENT_READ, True)
    selector.register(udp, selectors.EVENT_READ, False)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.data:
            connection, peer = key.fileobj.accept()
            connection.sendall(name + b" " + peer[0].encode())
            connection.close()
        else:
            data, peer = key.fileobj.recvfrom(2048)
            key.fileobj.sendto(name + b" " + peer[0].encode(), peer)
"""

CLIENT = """
import socket, sys, time
kind, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
kept = None
for _ in range(count):
    try:
        if kind == "tcp":
            with socket.create_connection((address, port), timeout=2) as one:
                print(one.recv(100).decode())
        else:
            if kept is None or kind == "udp":
                kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                kept.settimeout(1)
                kept.connect((address, port))
            kept.send(b"?")
            print(kept.recv(100).decode())
    except OSError as err:
        print(type(err).__name__)
    if kind == "udp-kept":
        time.sleep(0.02)
"""


@dataclass
class Place:
    """A network namespace; "" is the one that the test itself is in."""

    name: str
    address: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.name}", *command] if self.name else [*command]

    def serve(self, *ports: int, name: str = "") -> None:
        """Answer each TCP connection and UDP packet with the own name and the client's address."""
        command = self.enter(sys.executable, "-c", SERVER, name or self.address, *map(str, ports))
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout and process.stdout.readline() == b"ready\n"

    def ask(self, address: str, port: int, *, kind: str = "tcp", count: int = 1) -> list[str]:
        """Connect `count` times; return the answers or the names of the errors."""
        command = self.enter(sys.executable, "-c", CLIENT, kind, address, str(port), str(count))
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.splitlines()

    def start_asking(self, address: str, port: int, *, kind: str, count: int) -> "subprocess.Popen[bytes]":
        """Do as `ask` does, in the background."""
        command = self.enter(sys.executable, "-c", CLIENT, kind, address, str(port), str(count))
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


class Machine:
    """The node's namespace, entered by the test, and the namespaces around it."""

    def __init__(self) -> None:
        self.tag = f"kt{uuid.uuid4().hex[:6]}"
        self.places: list[Place] = []
        self.node = self._add(Place("", NODE_IP))

    def _add(self, place: Place) -> Place:
        self.places.append(place)
        if place.name:
            ip("netns", "add", place.name)
            ip("-n", place.name, "link", "set", "lo", "up")
        return place

    def add_outside(self) -> Place:
        """A machine in the node's network, whose only way to Services is the node."""
        place = self._add(Place(f"{self.tag}out", OUTSIDE_IP))
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", place.name)
        ip("address", "add", f"{NODE_IP}/24", "dev", "eth0")
        ip("link", "set", "eth0", "up")
        ip("-n", place.name, "address", "add", f"{OUTSIDE_IP}/24", "dev", "eth0")
        ip("-n", place.name, "link", "set", "eth0", "up")
        ip("-n", place.name, "route", "add", "10.96.0.0/16", "via", NODE_IP)
        ip("-n", place.name, "route", "add", "203.0.113.0/24", "via", NODE_IP)
        return place

    def add_pod(self, number: int) -> Place:
        """A pod at 10.244.0.NUMBER, as the bridge plugin makes it."""
        place = self._add(Place(f"{self.tag}p{number}", f"10.244.0.{number}"))
        outer = f"veth{number}"
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", place.name)
        ip("link", "set", outer, "master", BRIDGE, "up")
        ip("link", "set", outer, "type", "bridge_slave", "hairpin", "on")
        ip("-n", place.name, "address", "add", f"{place.address}/24", "dev", "eth0")
        ip("-n", place.name, "link", "set", "eth0", "up")
        ip("-n", place.name, "route", "add", "default", "via", "10.244.0.1")
        return place

    def close(self) -> None:
        for place in self.places:
            place.stop()
            if place.name:
                ip("netns", "del", place.name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def wait_for(condition: "object", *, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Enter a fresh network namespace for the length of a test."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        ip("link", "set", "lo", "up")
        made = Machine()
        try:
            yield made
        finally:
            made.close()
    finally:
        if libc.setns(home, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(home)


@pytest.fixture
def reservations(tmp_path: Path) -> Path:
    return tmp_path / "addresses"
