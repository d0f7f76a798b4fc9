import time
from datetime import UTC, datetime

import msgspec
import pytest

from chicory import WorkerStats, stats
from chicory.errors import MessageError
from chicory.health import BackendStatus, BrokerStatus
from chicory.stats import RunningTask
from chicory.transport import WorkerRecord

WHOLE = WorkerStats(
    worker_id="w",
    hostname="h",
    pid=1,
    queue="q",
    concurrency=2,
    tasks_processed=3,
    tasks_failed=4,
    active_tasks=5,
    started_at=datetime(2027, 1, 1, tzinfo=UTC),
    broker=BrokerStatus(connected=True),
    backend=BackendStatus(connected=False, error="down"),
    running=[RunningTask("t", "a", 1.5)],
)


def test_what_a_worker_says_is_what_is_read():
    read = stats.read(WorkerRecord("w", ("q",), stats.encode(WHOLE), beat_at=7.0))

    assert read == msgspec.structs.replace(WHOLE, last_heartbeat=datetime.fromtimestamp(7, UTC))


def test_what_a_later_version_adds_is_ignored():
    body = msgspec.msgpack.encode({**msgspec.to_builtins(WHOLE), "news": [1]})

    assert stats.read(WorkerRecord("w", ("q",), body)).tasks_processed == 3


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x81\xa1a\xa1\xff", b"\x91" * 100_000])
def test_what_cannot_be_read_names_its_worker(body):
    record = WorkerRecord("w", ("q",), body)

    with pytest.raises(MessageError, match=r"heartbeat of w cannot be read"):
        stats.read(record)
    assert not stats.has_stopped(record)


@pytest.mark.parametrize("running", [True, False])
def test_the_last_heartbeat_of_a_worker_says_that_it_stopped(running):
    body = stats.encode(msgspec.structs.replace(WHOLE, is_running=running))

    assert stats.has_stopped(WorkerRecord("w", ("q",), body)) is not running


def test_the_uptime_counts_from_the_start():
    before = time.time() - WHOLE.started_at.timestamp()

    assert WHOLE.uptime_seconds >= max(0.0, before)
    future = msgspec.structs.replace(WHOLE, started_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert future.uptime_seconds == 0.0
