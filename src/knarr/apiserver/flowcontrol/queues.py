"""Fair queues of one priority level: who of those that wait is served next.

Time is passed in, and nothing here waits: `start` gives a ticket that is either served at once or has a future, and `finish` hands the
seats on. The virtual clock R advances by the work that each busy queue would get if all were served side by side; the queue whose
oldest request would end first in that virtual world is served first.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/queueset (v1.37), whose doc.go has the reasoning.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

EXPECTED_S = 0.003
"""How long a request is thought to take until it has been seen."""
UNLIMITED = -1
"""A number of queues: every request is served at once."""

QUEUE_FULL = "queue-full"
CONCURRENCY_LIMIT = "concurrency-limit"
TIME_OUT = "time-out"


@dataclass(frozen=True, slots=True)
class Queuing:
    """How requests wait.

    Attributes:
        queues: How many; 0 rejects what finds no seat, UNLIMITED never does.
        hand_size: How many of the queues a flow uses.
        length_limit: Most requests in a queue.
    """

    queues: int = 0
    hand_size: int = 1
    length_limit: int = 0


class Ticket:
    """One request in a level.

    Attributes:
        seats: How much it takes of the level's limit.
        waiting: Done when it is served; None if it was at once.
        started_s: Since when it is served.
    """

    __slots__ = ("arrival_r", "queue", "seats", "started_s", "waiting")

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.queue: Queue | None = None
        self.arrival_r = 0.0
        self.started_s = 0.0
        self.waiting: asyncio.Future[None] | None = None


class Queue:
    """The requests of some flows."""

    __slots__ = ("executing", "next_r", "seats_in_use", "seats_waiting", "tickets")

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()
        self.executing = 0
        self.seats_in_use = 0
        self.seats_waiting = 0
        self.next_r = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or is served."""
        return bool(self.executing or self.tickets)

    def bound(self) -> None:
        """See to it that nothing is served before its arrival in the virtual world."""
        if self.tickets:
            self.next_r = max(self.next_r, self.tickets[0].arrival_r)


class Integrator:
    """Average, deviation and maximum of a level over time."""

    __slots__ = ("_since_s", "_squares", "_start_s", "_sum", "maximum", "value")

    def __init__(self, now_s: float) -> None:
        self.value = self.maximum = 0
        self._start_s = self._since_s = now_s
        self._sum = self._squares = 0.0

    def set(self, value: int, now_s: float) -> None:
        """Note that the level is `value` from now on."""
        elapsed_s = now_s - self._since_s
        if elapsed_s > 0.0:
            work = self.value * elapsed_s
            self._sum += work
            self._squares += work * self.value
            self._since_s = now_s
        self.value = value
        if value > self.maximum:
            self.maximum = value

    def reset(self, now_s: float) -> tuple[float, float, int]:
        """Return (average, deviation, maximum) since the last reset; NaN averages if no time has passed."""
        self.set(self.value, now_s)
        duration_s, maximum = now_s - self._start_s, self.maximum
        total, squares = self._sum, self._squares
        self._restart(now_s)
        if duration_s <= 0.0:
            return math.nan, math.nan, maximum
        average = total / duration_s
        return average, math.sqrt(max(0.0, squares / duration_s - average * average)), maximum

    def _restart(self, now_s: float) -> None:
        self._start_s = self._since_s = now_s
        self._sum = self._squares = 0.0
        self.maximum = self.value


class QueueSet:
    """The queues and seats of one priority level.

    Args:
        queuing: How requests wait.
        limit: How many seats there are.
        now_s: The time.

    Attributes:
        limit: How many seats there are at the moment.
        seats_in_use: Seats of what is served.
        seats_waiting: Seats that what waits would need.
        executing: How many requests are served.
        waiting: How many requests wait.
        demand: Of seats, over time.
    """

    def __init__(self, queuing: Queuing, limit: int, now_s: float) -> None:
        self.queuing = queuing
        self.limit = limit
        self.demand = Integrator(now_s)
        self.seats_in_use = self.seats_waiting = self.executing = self.waiting = 0
        self.virtual = 0.0
        self._queues = [Queue() for _ in range(max(0, queuing.queues))]
        self._busy = 0
        self._last_s = now_s
        self._robin = 0
        self._enqueues = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is served."""
        return not self.executing and not self.waiting

    def configure(self, queuing: Queuing, limit: int, now_s: float) -> None:
        """Change the queues and the number of seats; queues that are too many go once they are empty."""
        self._advance(now_s)
        self.queuing, self.limit = queuing, limit
        self._queues += [Queue() for _ in range(max(0, queuing.queues) - len(self._queues))]
        self._drop_empty()
        self._dispatch(now_s)

    def start(self, seats: int, hand: tuple[int, ...], now_s: float) -> Ticket | str:
        """Let a request in.

        Args:
            seats: How much it takes.
            hand: The queues of its flow.
            now_s: The time.

        Returns:
            Its ticket, or why it is rejected.
        """
        ticket = Ticket(seats)
        if not self.queuing.queues > 0:
            if self.queuing.queues == 0 and not self._fits(seats):
                return CONCURRENCY_LIMIT
            ticket.started_s = now_s
            self._occupy(ticket, None, now_s)
            return ticket
        self._advance(now_s)
        queue = self._choose(hand)
        if not self.waiting and self._fits(seats):
            if not queue.is_busy:
                self._busy += 1
                queue.next_r = self.virtual
            ticket.queue, ticket.started_s = queue, now_s
            queue.next_r += seats * EXPECTED_S
            self._occupy(ticket, queue, now_s)
            return ticket
        if self.seats_in_use >= self.limit and len(queue.tickets) >= self.queuing.length_limit:
            return QUEUE_FULL
        self._enqueue(ticket, queue, now_s)
        self._dispatch(now_s)
        return ticket

    def finish(self, ticket: Ticket, now_s: float) -> None:
        """Give the seats of a request that was served to the next ones."""
        queue = ticket.queue
        if queue is not None:
            self._advance(now_s)
            queue.next_r -= ticket.seats * (EXPECTED_S - (now_s - ticket.started_s))
            queue.bound()
            queue.executing -= 1
            queue.seats_in_use -= ticket.seats
            if not queue.is_busy:
                self._busy -= 1
                self._drop_empty()
        self.executing -= 1
        self.seats_in_use -= ticket.seats
        self.demand.set(self.seats_in_use + self.seats_waiting, now_s)
        if self.waiting:
            self._dispatch(now_s)

    def leave(self, ticket: Ticket, now_s: float) -> bool:
        """Take a request out of its queue; False if it is served already."""
        queue = ticket.queue
        assert queue is not None
        if ticket not in queue.tickets:
            return False
        self._advance(now_s)
        queue.tickets.remove(ticket)
        self._unwait(ticket, queue)
        queue.bound()
        if not queue.is_busy:
            self._busy -= 1
        self.demand.set(self.seats_in_use + self.seats_waiting, now_s)
        self._dispatch(now_s)
        return True

    def _choose(self, hand: tuple[int, ...]) -> Queue:
        """Return the queue of the hand in which the least work waits."""
        size = len(hand)
        offset = self._enqueues % size
        self._enqueues += 1
        if not self.waiting:
            return self._queues[hand[offset]]
        queues = [self._queues[hand[(offset + step) % size]] for step in range(size)]
        return min(queues, key=_seats_waiting)

    def _fits(self, seats: int) -> bool:
        if self.queuing.queues < 0:
            return True
        if seats > self.limit:
            return not self.executing  # wider than the whole level: alone, or never
        return self.seats_in_use + seats <= self.limit

    def _enqueue(self, ticket: Ticket, queue: Queue, now_s: float) -> None:
        if not queue.is_busy:
            self._busy += 1
            queue.next_r = self.virtual
        ticket.queue, ticket.arrival_r = queue, self.virtual
        ticket.waiting = asyncio.get_running_loop().create_future()
        queue.tickets.append(ticket)
        queue.seats_waiting += ticket.seats
        self.waiting += 1
        self.seats_waiting += ticket.seats
        queue.bound()
        self.demand.set(self.seats_in_use + self.seats_waiting, now_s)

    def _unwait(self, ticket: Ticket, queue: Queue) -> None:
        queue.seats_waiting -= ticket.seats
        self.waiting -= 1
        self.seats_waiting -= ticket.seats

    def _occupy(self, ticket: Ticket, queue: Queue | None, now_s: float) -> None:
        self.executing += 1
        self.seats_in_use += ticket.seats
        if queue is not None:
            queue.executing += 1
            queue.seats_in_use += ticket.seats
        self.demand.set(self.seats_in_use + self.seats_waiting, now_s)

    def _dispatch(self, now_s: float) -> None:
        while self.waiting and self.seats_in_use < self.limit:
            index = self._next()
            queue = self._queues[index]
            ticket = queue.tickets[0]
            if not self._fits(ticket.seats):
                return
            self._robin = index
            queue.tickets.popleft()
            self._unwait(ticket, queue)
            ticket.started_s = now_s
            queue.next_r += ticket.seats * EXPECTED_S
            self._occupy(ticket, queue, now_s)
            queue.bound()
            assert ticket.waiting is not None
            if not ticket.waiting.done():
                ticket.waiting.set_result(None)

    def _next(self) -> int:
        """Return the queue whose oldest request would end first, beginning after the one served last."""
        count, best, best_r = len(self._queues), -1, math.inf
        for step in range(1, count + 1):
            index = (self._robin + step) % count
            queue = self._queues[index]
            if queue.tickets:
                finish_r = queue.next_r + queue.tickets[0].seats * EXPECTED_S
                if finish_r < best_r:
                    best, best_r = index, finish_r
        return best

    def _advance(self, now_s: float) -> None:
        elapsed_s = now_s - self._last_s
        self._last_s = now_s
        if self._busy and elapsed_s > 0.0:
            wanted = self.seats_in_use + self.seats_waiting
            self.virtual += elapsed_s * min(wanted, self.limit) / self._busy

    def _drop_empty(self) -> None:
        wanted = max(0, self.queuing.queues)
        while len(self._queues) > wanted and not self._queues[-1].is_busy:
            self._queues.pop()


def deal(entropy: int, deck: int, hand: int) -> tuple[int, ...]:
    """Return `hand` different numbers below `deck`, always the same for the same entropy: shuffle sharding.

    Source: KEP-1040, "Assigning a Flow to Hands".
    """
    cards = list(range(deck))
    dealt = []
    for _ in range(hand):
        entropy, chosen = divmod(entropy, len(cards))
        dealt.append(cards.pop(chosen))
    return tuple(dealt)


def _seats_waiting(queue: Queue) -> int:
    return queue.seats_waiting
