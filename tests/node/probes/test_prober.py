from random import Random
from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1

from knarr.kit.clock import FakeClock
from knarr.node.pods.view import Kill
from knarr.node.probes.ask import Answer, Target, resolve_port, to_request
from knarr.node.probes.prober import Prober, Tools


class Bench:
    """A prober over answers that a test sets."""

    def __init__(self, **probes: Any) -> None:
        self.clock = FakeClock()
        self.ok = True
        self.asked: list[float] = []
        self.told: list[str] = []
        self.wakes = 0
        self.container = msgspec.convert({"name": "c", **probes}, core_v1.Container)

    async def ask(self, _target: Target, _probe: core_v1.Probe) -> Answer:
        self.asked.append(self.clock.monotonic_s())
        return Answer(self.ok, "out")

    def wake(self) -> None:
        self.wakes += 1

    def start(self, **known: bool) -> Prober:
        def tell(_name: str, message: str) -> None:
            self.told.append(message)

        tools = Tools(self.ask, self.clock, Random(1), tell, self.wake)
        return Prober(Target(self.container, "id", "10.0.0.9"), self.clock.now().timestamp(), tools, **known)


async def test_without_probes_all_is_well() -> None:
    prober = Bench().start()
    assert (prober.is_started, prober.is_ready, prober.kill) == (True, True, None)


async def test_readiness_follows_its_thresholds() -> None:
    bench = Bench(
        readinessProbe={"periodSeconds": 5, "initialDelaySeconds": 3, "successThreshold": 2, "failureThreshold": 2}
    )
    prober = bench.start()
    await bench.clock.advance(7)
    assert (prober.is_ready, bench.asked) == (False, [3.0])
    await bench.clock.advance(1)
    assert (prober.is_ready, bench.wakes) == (True, 1)
    bench.ok = False
    await bench.clock.advance(5)
    assert prober.is_ready
    await bench.clock.advance(5)
    assert not prober.is_ready
    assert bench.told == ["Readiness probe failed: out"] * 2
    prober.stop()


async def test_liveness_kills_after_enough_failures_in_a_row() -> None:
    bench = Bench(livenessProbe={"periodSeconds": 1, "failureThreshold": 2, "terminationGracePeriodSeconds": 4})
    prober = bench.start()
    for ok in (False, True, False):
        bench.ok = ok
        await bench.clock.advance(1 if bench.asked else 0)
        assert prober.kill is None
    await bench.clock.advance(1)
    assert prober.kill == Kill("Container c failed liveness probe, will be restarted", 4)
    prober.stop()


async def test_startup_holds_back_the_others() -> None:
    bench = Bench(startupProbe={"periodSeconds": 1, "failureThreshold": 10}, livenessProbe={"periodSeconds": 1})
    bench.ok = False
    prober = bench.start()
    await bench.clock.advance(3.5)
    assert (prober.is_started, len(bench.asked)) == (False, 4)
    bench.ok = True
    await bench.clock.advance(0.5)
    assert prober.is_started
    assert len(bench.asked) == 6  # the startup probe's last, and liveness at once
    prober.stop()


async def test_startup_that_never_comes_kills() -> None:
    bench = Bench(startupProbe={"periodSeconds": 1, "failureThreshold": 3})
    bench.ok = False
    prober = bench.start()
    await bench.clock.advance(2)
    assert prober.kill == Kill("Container c failed startup probe, will be restarted")


async def test_what_was_known_before_a_restart_counts() -> None:
    bench = Bench(readinessProbe={}, startupProbe={})
    prober = bench.start(was_ready=True, was_started=True)
    assert (prober.is_ready, prober.is_started) == (True, True)
    prober.stop()


CONTAINER = msgspec.convert({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}, core_v1.Container)


@pytest.mark.parametrize(("port", "expected"), [(80, 80), ("81", 81), ("web", 8080), ("nope", 0)])
def test_resolve_port(port: Any, expected: int) -> None:
    assert resolve_port(CONTAINER, port) == expected


@pytest.mark.parametrize(
    ("action", "url", "path", "query"),
    [
        ({"port": "web"}, "http://10.0.0.9:8080", "/", ""),
        ({"port": 1, "path": "/a?b=c", "scheme": "HTTPS", "host": "h"}, "https://h:1", "/a", "b=c"),
        ({"port": 1, "path": "x"}, "http://10.0.0.9:1", "/x", ""),
    ],
)
def test_to_request(action: Any, url: str, path: str, query: str) -> None:
    request, found = to_request(Target(CONTAINER, "id", "10.0.0.9"), msgspec.convert(action, core_v1.HTTPGetAction))
    assert (found, request.path, request.query) == (url, path, query)
    assert request.headers.get("user-agent") == "kube-probe/1.37"
