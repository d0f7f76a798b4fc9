"""What ``chicory workers`` says of a worker, once and again and again."""

import json
from datetime import UTC, datetime

import anyio
import pytest

from chicory.cli.output import span
from chicory.cli.watch import watched
from chicory.cli.workers import NAMED, facts, row
from chicory.errors import BrokerConnectionError
from chicory.stats import RunningTask, WorkerStats

NOW = 1_900_000_000.0


def moment(ago: float) -> datetime:
    return datetime.fromtimestamp(NOW - ago, UTC)


def stats(**rest) -> WorkerStats:
    return WorkerStats(
        worker_id="w",
        hostname="h",
        pid=12345,
        queue="a,b",
        queues=["a", "b"],
        concurrency=8,
        tasks_processed=3000,
        tasks_failed=2,
        started_at=moment(3725),
        last_heartbeat=moment(4),
        **rest,
    )


def test_a_person_is_told_who_works_since_when_and_on_what():
    worker = stats(active_tasks=1, running=[RunningTask("t", "id", NOW - 61)])

    assert row(worker, NOW) == {
        "worker": "w",
        "host": "h",
        "pid": "12345",
        "queue": "a,b",
        "processed": 3000,
        "failed": 2,
        "active": 1,
        "concurrency": 8,
        "uptime": "1 h 2 min",
        "last_seen": "4 s ago",
        "running": ["t id for 1 min 1 s"],
    }


def test_a_program_is_told_all_that_the_heartbeat_says():
    told = facts(stats(active_tasks=1, running=[RunningTask("t", "id", NOW - 61)]), NOW)

    assert told["queues"] == ["a", "b"]
    assert told["uptime_s"] == 3725
    assert (told["last_seen"], told["last_seen_s"]) == (moment(4), 4.0)
    assert told["running"] == [{"task": "t", "id": "id", "since": moment(61)}]


def test_a_table_names_some_of_many_running_tasks():
    running = [RunningTask("t", str(number), NOW) for number in range(100)]

    lines = row(stats(active_tasks=1200, running=running), NOW)["running"]

    assert len(lines) == NAMED + 1
    assert lines[-1] == "and 1,190 more"


def test_a_clock_that_is_behind_the_worker_s_makes_nothing_negative():
    told = row(stats(), NOW - 100_000)

    assert told["last_seen"] == "0 s ago"
    assert told["uptime"] == "0 s"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds, said):
    assert span(seconds) == said


async def test_a_broker_that_does_not_answer_is_shown_and_asked_again(capsys):
    looks = 0

    async def look():
        nonlocal looks
        looks += 1
        match looks:
            case 1:
                return []
            case 2:
                raise BrokerConnectionError("gone")
            case 3:
                return [{"worker": "w"}]
            case _:
                group.cancel_scope.cancel()
                return await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            await watched(look, 0, "nobody", as_json=True)

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == [[], {"error": "gone"}, [{"worker": "w"}]]
