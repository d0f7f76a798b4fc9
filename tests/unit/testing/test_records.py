from __future__ import annotations

import gc

from chicory.testing.records import Records
from chicory.transport import Record


def put(records, numbers, now, ttl=10.0):
    for number in numbers:
        records.put(Record(f"call {number}", b"body", ttl), now)


def test_the_memory_of_records_that_are_over_is_given_back():
    records = Records()

    put(records, range(100_000), now=0.0)
    put(records, range(100_000, 110_000), now=5.0)
    put(records, range(110_000, 250_000), now=12.0)

    assert len(records._kept) < 160_000
    assert records.get("call 1", now=9.0) is None
    assert records.get("call 100000", now=14.0) == b"body"
    assert records.get("call 100000", now=15.0) is None


def test_a_record_that_was_put_again_in_time_is_kept():
    records = Records()

    put(records, [1], now=0.0)
    put(records, [1], now=9.0)
    put(records, range(2, 5_000), now=12.0)

    assert records.get("call 1", now=18.0) == b"body"


def test_the_garbage_collector_does_not_look_through_records():
    records = Records()

    put(records, range(10), now=0.0)

    assert not gc.is_tracked(records._kept)
    assert not any(map(gc.is_tracked, records._kept.values()))
