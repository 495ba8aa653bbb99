"""Probes of one container: a task for each, counting successes and failures in a row until one side has enough.

Liveness and readiness wait until the container has started. What a container without a probe would answer is yes.

Source: pkg/kubelet/prober/worker.go (v1.37).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from lightkube.models import core_v1

from knarr.kit.clock import Clock
from knarr.node.pods.view import Kill
from knarr.node.probes.ask import Answer, Target

ADOPTED_AGE_S = 5.0
"""A container that ran for longer when its probes began was started by an earlier agent."""


class Kind(Enum):
    """What a probe is for; the value stands in messages."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True)
class Tools:
    """What probes work with.

    Attributes:
        ask: Asks a container.
        clock: Times questions.
        random: Spreads the first ones after a restart of the agent.
        tell: Records that a container is unhealthy: the container's name and a message.
        wake: Called when a result has changed.
    """

    ask: Callable[[Target, core_v1.Probe], Awaitable[Answer]]
    clock: Clock
    random: Random
    tell: Callable[[str, str], None]
    wake: Callable[[], None]


class Prober:
    """The probes of one running container.

    Args:
        target: The container.
        started_s: When it started, seconds since the epoch.
        tools: To work with.
        was_ready: What was known before the agent started again.
        was_started: Likewise.
    """

    def __init__(
        self, target: Target, started_s: float, tools: Tools, *, was_ready: bool = False, was_started: bool = False
    ) -> None:
        self._target = target
        self._started_s = started_s
        self._tools = tools
        spec = target.container
        self.is_started = was_started or spec.startupProbe is None
        self.is_ready = was_ready or spec.readinessProbe is None
        self.kill: Kill | None = None
        self._startup = asyncio.Event()
        self._adopted = tools.clock.now().timestamp() - started_s > ADOPTED_AGE_S
        if self.is_started:
            self._startup.set()
        probes = (
            (Kind.STARTUP, None if was_started else spec.startupProbe),
            (Kind.LIVENESS, spec.livenessProbe),
            (Kind.READINESS, spec.readinessProbe),
        )
        self._tasks = [
            asyncio.create_task(self._run(kind, probe), name=f"probe {spec.name} {kind.value}")
            for kind, probe in probes
            if probe is not None
        ]

    def stop(self, *, keep_readiness: bool = False) -> None:
        """End the probes; a container that is being stopped is still asked whether it is ready."""
        for task in self._tasks:
            if not (keep_readiness and task.get_name().endswith(Kind.READINESS.value)):
                task.cancel()

    async def _run(self, kind: Kind, probe: core_v1.Probe) -> None:
        clock = self._tools.clock
        if kind is not Kind.STARTUP:
            await self._startup.wait()
        age_s = clock.now().timestamp() - self._started_s
        period_s = float(probe.periodSeconds or 10)
        await clock.sleep(max(0.0, (probe.initialDelaySeconds or 0) - age_s))
        if self._adopted:  # the agent was started again: not all containers at once
            await clock.sleep(self._tools.random.random() * period_s)
        passed: bool | None = None
        in_a_row = 0
        while True:
            answer = await self._tools.ask(self._target, probe)
            if not answer.ok:
                self._tools.tell(self._target.container.name, f"{kind.value} probe failed: {answer.output}")
            in_a_row = in_a_row + 1 if answer.ok is passed else 1
            passed = answer.ok
            enough = (probe.successThreshold or 1) if passed else (probe.failureThreshold or 3)
            if in_a_row >= enough and self._settle(kind, probe, passed=passed):
                return
            await clock.sleep(period_s)

    def _settle(self, kind: Kind, probe: core_v1.Probe, *, passed: bool) -> bool:
        """Take in a result that has been confirmed; return whether the probe is over."""
        if kind is Kind.READINESS:
            if self.is_ready != passed:
                self.is_ready = passed
                self._tools.wake()
            return False
        if not passed:
            name = self._target.container.name
            message = f"Container {name} failed {kind.value.lower()} probe, will be restarted"
            self.kill = Kill(message, probe.terminationGracePeriodSeconds)
            self._tools.wake()
            return True
        if kind is Kind.STARTUP:
            self.is_started = True
            self._startup.set()
            self._tools.wake()
            return True
        return False
