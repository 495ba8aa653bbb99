"""Fair queues on time that the tests pass in."""

import pytest

from knarr.apiserver.flowcontrol import queues
from knarr.apiserver.flowcontrol.queues import QueueSet, Queuing, Ticket


def start(queue_set: QueueSet, hand: tuple[int, ...] = (0,), *, seats: int = 1, now_s: float = 0.0) -> Ticket:
    ticket = queue_set.start(seats, hand, now_s)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def is_served(ticket: Ticket) -> bool:
    return ticket.waiting is None or ticket.waiting.done()


async def test_what_finds_a_seat_is_served_at_once_and_the_rest_in_turn() -> None:
    found = QueueSet(Queuing(4, 2, 10), 2, 0.0)
    tickets = [start(found) for _ in range(4)]
    assert [is_served(one) for one in tickets] == [True, True, False, False]
    found.finish(tickets[0], 0.1)
    assert [is_served(one) for one in tickets] == [True, True, True, False]
    for one in tickets[1:]:
        found.finish(one, 0.2)
    assert found.is_idle
    assert (found.seats_in_use, found.seats_waiting) == (0, 0)


async def test_one_busy_flow_does_not_hold_up_another() -> None:
    found = QueueSet(Queuing(2, 1, 100), 1, 0.0)
    running = start(found, (0,))
    elephants = [start(found, (0,)) for _ in range(20)]
    mouse = start(found, (1,))
    now_s, served = 0.0, 0
    while not is_served(mouse):
        now_s += 0.01
        found.finish(running, now_s)
        running = next((one for one in elephants if is_served(one)), mouse)
        if running is not mouse:
            elephants.remove(running)
            served += 1
    assert served <= 2


async def test_two_flows_share_alike() -> None:
    found = QueueSet(Queuing(2, 1, 100), 1, 0.0)
    running, now_s = start(found, (0,)), 0.0
    waiting = {0: [start(found, (0,)) for _ in range(30)], 1: [start(found, (1,)) for _ in range(30)]}
    served = {0: 0, 1: 0}
    for _ in range(20):
        now_s += 0.01
        found.finish(running, now_s)
        flow, running = next((flow, one) for flow, listed in waiting.items() for one in listed if is_served(one))
        waiting[flow].remove(running)
        served[flow] += 1
    assert abs(served[0] - served[1]) <= 1


async def test_a_wide_request_waits_for_all_its_seats_and_is_not_overtaken() -> None:
    found = QueueSet(Queuing(1, 1, 10), 4, 0.0)
    narrow = [start(found) for _ in range(2)]
    wide = start(found, seats=4)
    late = start(found)
    found.finish(narrow[0], 0.1)
    assert not is_served(wide)
    assert not is_served(late)
    found.finish(narrow[1], 0.1)
    assert is_served(wide)
    assert not is_served(late)


async def test_a_request_wider_than_the_level_is_served_alone() -> None:
    found = QueueSet(Queuing(1, 1, 10), 2, 0.0)
    assert is_served(start(found, seats=9))
    assert not is_served(start(found))


@pytest.mark.parametrize(
    ("queuing", "reason"),
    [(Queuing(1, 1, 1), queues.QUEUE_FULL), (Queuing(0), queues.CONCURRENCY_LIMIT)],
    ids=["queue", "reject"],
)
async def test_what_is_too_much_is_rejected(queuing: Queuing, reason: str) -> None:
    found = QueueSet(queuing, 1, 0.0)
    found.start(1, (0,), 0.0)
    if queuing.queues:
        start(found)
    assert found.start(1, (0,), 0.0) == reason


async def test_an_exempt_level_has_no_limit() -> None:
    found = QueueSet(Queuing(queues.UNLIMITED), 0, 0.0)
    assert all(is_served(start(found, ())) for _ in range(100))


async def test_who_gives_up_makes_room() -> None:
    found = QueueSet(Queuing(1, 1, 10), 1, 0.0)
    first, second, third = (start(found) for _ in range(3))
    assert found.leave(second, 1.0)
    assert not found.leave(first, 1.0)
    found.finish(first, 1.0)
    assert is_served(third)


async def test_fewer_seats_and_queues_let_what_waits_drain() -> None:
    found = QueueSet(Queuing(8, 1, 10), 1, 0.0)
    tickets = [start(found, (index,)) for index in range(8)]
    found.configure(Queuing(2, 1, 10), 4, 0.0)
    assert sum(is_served(one) for one in tickets) == 4
    done: set[int] = set()
    while len(done) < len(tickets):
        index = next(i for i, one in enumerate(tickets) if i not in done and is_served(one))
        found.finish(tickets[index], 0.1)
        done.add(index)
    assert len(found._queues) == 2


def test_hands_are_different_cards_and_always_the_same() -> None:
    for entropy in range(0, 10**12, 10**10 + 7):
        hand = queues.deal(entropy, 64, 6)
        assert len(set(hand)) == 6
        assert all(0 <= card < 64 for card in hand)
        assert hand == queues.deal(entropy, 64, 6)
    assert queues.deal(5 + 64 * 62, 64, 2) == (5, 63)


def test_demand_over_time() -> None:
    found = queues.Integrator(0.0)
    found.set(4, 1.0)
    found.set(0, 3.0)
    average, deviation, peak = found.reset(4.0)
    assert (average, deviation, peak) == (2.0, 2.0, 4)
