import asyncio
from random import Random

from knarr.api import errors
from knarr.api.user import User
from knarr.client import Client, transport
from knarr.control import Context, events, informer, loop
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Request, Response

KEY = loop.Request("ns", "a")


async def nobody(request: Request) -> Response:
    return Response(503, Headers([]), b"")


class Scripted:
    """Ends each reconciliation as the script says."""

    def __init__(self, clock: FakeClock, *script: loop.Result | Exception) -> None:
        self._clock = clock
        self._script = list(script)
        self.at: list[float] = []

    async def reconcile(self, request: loop.Request) -> loop.Result:
        self.at.append(self._clock.monotonic_s())
        step = self._script.pop(0) if self._script else loop.Result()
        if isinstance(step, Exception):
            raise step
        return step


def run(clock: FakeClock, reconciler: Scripted) -> tuple[loop.Controller, asyncio.Task[None]]:
    client = Client(transport.InProcessTransport(nobody, User("u")), clock=clock)
    informers = informer.Informers(client, clock, Random(1))
    recorder = events.Recorder(client, "test", clock=clock)
    context = Context(client, informers, clock, Random(1), recorder, lambda name: client)
    controller = loop.Controller("test", reconciler, context, workers=2)
    return controller, asyncio.get_running_loop().create_task(controller.run())


async def test_failures_are_tried_again_later_and_later() -> None:
    clock = FakeClock()
    conflict = errors.Conflict("", "pods", "a")
    reconciler = Scripted(clock, conflict, ValueError("a bug"), errors.ServiceUnavailable("away"))
    controller, task = run(clock, reconciler)
    controller.add(KEY)
    await clock.advance(10)
    assert [round(at, 3) for at in reconciler.at] == [0.0, 0.005, 0.015, 0.035]
    task.cancel()


async def test_a_result_can_ask_for_another_look() -> None:
    clock = FakeClock()
    reconciler = Scripted(clock, loop.Result(requeue_after_s=30.0))
    controller, task = run(clock, reconciler)
    controller.add(KEY)
    await clock.advance(29)
    assert reconciler.at == [0.0]
    await clock.advance(2)
    assert reconciler.at == [0.0, 30.0]
    task.cancel()
