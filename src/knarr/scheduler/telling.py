"""What the scheduler tells about pods: events, and the condition PodScheduled.

That a pod was placed is told when there is nothing more urgent: events are for people, and pods that wait come first.

Upstream counterpart: handleSchedulingFailure in pkg/scheduler/schedule_one.go, pkg/scheduler/util (v1.37).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.control import events as recording
from knarr.kit.clock import Clock
from knarr.scheduler.podfacts import PodFacts

WHY = "scheduler.knarr.io/why"
"""The annotation of a FailedScheduling event that says as JSON what each group of nodes lacks."""
HELD = 20_000
"""Most events that are held back; the oldest are dropped."""
PACE_S = 0.2
A_TIME = 200
"""So many events are handed to the recorder at a time."""


class Teller:
    """Tells of one profile.

    Args:
        client: Writes.
        clock: Stamps.
        name: The profile's: the source of its events.
        is_busy: Tells whether pods wait to be tried.
    """

    def __init__(self, client: Client, clock: Clock, name: str, is_busy: Callable[[], bool]) -> None:
        self._client = client
        self._clock = clock
        self._is_busy = is_busy
        self._recorder = recording.Recorder(client, name, clock=clock)
        self._held: deque[tuple[core_v1.Pod, str]] = deque(maxlen=HELD)
        self._wakeup = asyncio.Event()

    async def run(self) -> None:
        """Tell what is held back, until cancelled."""
        while True:
            await self._wakeup.wait()
            while self._held:
                for _ in range(min(A_TIME, len(self._held))):
                    pod, text = self._held.popleft()
                    self._recorder.event(pod, recording.NORMAL, "Scheduled", text, action="Binding")
                if self._held:
                    await self._clock.sleep(PACE_S)
            self._wakeup.clear()

    def idle(self) -> None:
        """Note that no pod waits: it is time to tell."""
        if self._held:
            self._wakeup.set()

    def placed(self, pod: PodFacts, node: str) -> None:
        """Tell that a pod has a node."""
        self._held.append((pod.pod, f"Successfully assigned {pod.namespace}/{pod.name} to {node}"))
        if not self._is_busy():
            self.idle()

    def failed(self, pod: PodFacts, message: str, why: str = "") -> None:
        """Tell that a pod has none; `why` is the whole truth for programs, if it was worked out."""
        told = {WHY: why} if why else None
        self._recorder.event(
            pod.pod, recording.WARNING, "FailedScheduling", message, action="Scheduling", annotations=told
        )

    def preempted(self, victim: core_v1.Pod, by: str, node: str) -> None:
        """Tell that a pod had to go."""
        text = f"Preempted by pod {by} on node {node}"
        self._recorder.event(victim, recording.NORMAL, "Preempted", text, action="Preempting")

    async def write_failure(
        self, current: core_v1.Pod | None, pod: PodFacts, *, reason: str, message: str, nominated: str
    ) -> None:
        """Write the condition and the nominated node, if they are not as they should be.

        Args:
            current: The pod as it is now.
            pod: The same as it was tried.
            reason: One word.
            message: For people.
            nominated: The node that it waits for; empty for none.
        """
        status = current.status if current is not None and current.status else core_v1.PodStatus()
        before = next((one for one in status.conditions or () if one.type == "PodScheduled"), None)
        stands = before is not None and (before.status, before.reason, before.message) == ("False", reason, message)
        if stands and (status.nominatedNodeName or "") == nominated:
            return
        since = before.lastTransitionTime if before is not None and before.status == "False" else None
        condition = core_v1.PodCondition(
            type="PodScheduled",
            status="False",
            reason=reason,
            message=message,
            lastTransitionTime=since or self._clock.now().replace(microsecond=0),
        )
        body: dict[str, object] = {"status": {"conditions": [condition]}, "metadata": {"uid": pod.uid}}
        if (status.nominatedNodeName or "") != nominated:
            body["status"] = {"conditions": [condition], "nominatedNodeName": nominated or None}
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.patch(
                core_v1.Pod, pod.name, body, PatchType.STRATEGIC, namespace=pod.namespace, subresource="status"
            )

    async def displace(self, victim: PodFacts, name: str) -> None:
        """Mark a pod as displaced by the scheduler of that name."""
        condition = core_v1.PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=f"{name}: preempting to accommodate a higher priority pod",
            lastTransitionTime=self._clock.now().replace(microsecond=0),
        )
        await self._client.patch(
            core_v1.Pod,
            victim.name,
            {"status": {"conditions": [condition]}},
            PatchType.STRATEGIC,
            namespace=victim.namespace,
            subresource="status",
        )
