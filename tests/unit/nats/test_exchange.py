"""What is sent together, and what is sent again."""

import pytest

from chicory_nats.exchange import _Round, _windows
from chicory_nats.wire import Batch, Outgoing


def outgoing(number: int, size: int = 1) -> Outgoing:
    return Outgoing(b"s.%d" % number, b"", b"x" * size)


def batch(number: int) -> Batch:
    return Batch([outgoing(number), outgoing(number)])


def test_a_few_batches_at_a_time_are_sent_and_thousands_of_messages():
    requests = [*(batch(n) for n in range(100)), *(outgoing(n) for n in range(5000))]

    windows = _windows(requests)

    assert [one for window in windows for one in window] == requests
    for window in windows:
        assert sum(isinstance(one, Batch) for one in window) <= 32
        assert len(window) <= 2000
    assert len(windows) == 6


def test_what_is_large_is_sent_by_itself():
    requests = [outgoing(n, size=9 << 20) for n in range(3)]

    assert _windows(requests) == [[one] for one in requests]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nothing_is_sent_again_to_a_server_that_answers_one_after_the_other():
    sent = _Round([outgoing(n) for n in range(3)], b"inbox.", lambda: b"id")

    first = sent.overdue()
    sent.answer(0, b"{}")
    meanwhile = sent.overdue()
    sent.answer(1, b"{}")
    still = sent.overdue()
    silent = sent.overdue()

    assert [first.count(b"s.%d" % n) for n in range(3)] == [1, 1, 1]
    assert meanwhile == still == b""
    assert [silent.count(b"s.%d" % n) for n in range(3)] == [0, 0, 1]
