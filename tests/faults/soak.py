"""Many calls of all kinds and no fault: ``python tests/faults/soak.py redis 1000000``.

What must be as it was in the end: the memory of the workers, their files, threads and connections,
and what the broker holds once results have expired and dead letters are gone. Interrupted (SIGINT),
it enqueues no more, and reports on what it has got.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
import nats
import redis

from chicory import cancellation
from chicory.testing.faults.kinds import Kind
from chicory.testing.faults.process import Process
from chicory.testing.faults.scene import RunError, Scene
from chicory.testing.faults.stage import Stage
from chicory.testing.faults.stages import STAGES
from chicory_nats import subjects as names

TTL = 10.0
"""Seconds for which results are kept."""
WARM = 3000
"""Calls after which everything is there that stays."""
AHEAD = 8000
WORKERS, CONCURRENCY, PRODUCERS = 2, 128, 2
PATIENCE = 120.0
CALM = 12.0
"""Seconds without a change after which a broker's leftovers are what stays: SQLite removes what has
expired whenever a worker's heart beats."""
EVERY = 2.0
_ORDERS = names.place_of("", 0, cancellation.ORDERS).call
ORDERS = names.Subjects("chicory").about(names.Kind.RECORD, _ORDERS).decode()


class Size(NamedTuple):
    """A process as the kernel sees it."""

    megabytes: float
    files: int
    threads: int

    @classmethod
    def of(cls, process: Process) -> Size:
        folder = Path(f"/proc/{process.pid}")
        lines = (folder / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((folder / "fd").iterdir())),
            int(status["Threads"]),
        )


# -- what a broker holds, but for the record of what was cancelled in the last minute --------------


def rows(stage: Stage) -> dict[str, int]:
    with closing(sqlite3.connect(stage.folder / "chicory.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = {
            name: database.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables
        }
        orders = "SELECT COUNT(*) FROM chicory_record WHERE task_id = ?"
        found["chicory_record"] -= database.execute(orders, [cancellation.ORDERS]).fetchone()[0]
        return found


def keys(stage: Stage) -> dict[str, int]:
    with redis.Redis(port=stage.port, protocol=2) as client:
        keys = [key.decode().partition("}:")[2] for key in client.scan_iter(count=1000)]
        names = [key.split(":")[0] for key in keys if key != f"r:{cancellation.ORDERS}"]
        # of the last answers to a client there are two for each script at most, and none for long
        found = {f"keys {kind}": names.count(kind) for kind in sorted(set(names) - {"o"})}
        return found | {"clients": client.info("clients")["connected_clients"] - 1}


def subjects(stage: Stage) -> dict[str, int]:
    async def ask() -> dict[str, int]:
        client = await nats.connect(stage.url(None))
        try:
            request = json.dumps({"subjects_filter": ORDERS}).encode()
            answer = await client.request("$JS.API.STREAM.INFO.CHICORY_chicory", request, timeout=5)
        finally:
            await client.close()
        state = json.loads(answer.data)["state"]
        orders = len(state.get("subjects") or {})
        return {
            "messages": state["messages"] - orders,
            "subjects": state.get("num_subjects", 0) - orders,
            "consumers": state["consumer_count"],
        }

    return anyio.run(ask)


CENSUS: Mapping[str, Callable[[Stage], dict[str, int]]] = {
    "sqlite": rows,
    "redis": keys,
    "nats": subjects,
}


# -- the soak ------------------------------------------------------------------------------------


class Soaked(NamedTuple):
    """What came of it: before, that is after some calls, and after all of them."""

    calls: int
    seconds: float
    sizes_before: list[Size]
    sizes_after: list[Size]
    most: float
    left_before: dict[str, int]
    left_after: dict[str, int]
    letters: int
    failing: int
    cancelled: int
    failures: list[str]


class Soak:
    def __init__(self, name: str, folder: Path, calls: int, say=print, backend="asyncio") -> None:
        self._name = name
        self._calls = calls
        self._say = say
        (folder / "broker").mkdir()
        self._stage = STAGES[name](folder / "broker")
        environment = {
            "CHICORY_BACKEND_RESULT_TTL": str(TTL),
            "CHICORY_WORKER_CONCURRENCY": str(CONCURRENCY),
            "CHICORY_WORKER_HEARTBEAT_INTERVAL": "2",
        }
        self._scene = Scene(self._stage, folder, backend, 8.0, environment)
        self._scene.keeps = False
        self._most = 0.0
        self._enough = False

    async def run(self) -> Soaked:
        scene = self._scene
        async with scene.opened(), anyio.create_task_group() as group:
            group.start_soon(self._heed)
            for _ in range(WORKERS):
                scene.start_worker()
            for number in range(PRODUCERS):
                scene.start_producer(f"soak-{number}")
            await self._produce(WARM)
            letters = await self._empty()
            left_before = await self._leftovers()
            sizes_before: list[Size] = []
            begun = time.monotonic()
            await self._produce(max(WARM, self._calls // 10))
            sizes_before = self._sizes()
            await self._produce(self._calls)
            letters += await self._empty()
            seconds = time.monotonic() - begun
            scene.end_producers()
            await scene.until(lambda: not scene.producers, PATIENCE, "producers do not end")
            left_after = await self._leftovers()
            sizes_after = self._sizes()
            await scene.leave(PATIENCE)
            group.cancel_scope.cancel()
        return Soaked(
            scene.offered,
            seconds,
            sizes_before,
            sizes_after,
            self._most,
            left_before,
            left_after,
            letters,
            scene.kinds[Kind.FAILING],
            scene.kinds[Kind.CANCELLED],
            scene.failures,
        )

    async def _heed(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                self._say("interrupted: no more is enqueued")
                self._enough = True

    async def _produce(self, calls: int) -> None:
        scene = self._scene
        said = time.monotonic()
        while scene.offered < calls and not self._enough:
            over = len(scene.over)
            scene.allow(min(calls, over + AHEAD))
            await scene.until(
                lambda over=over: len(scene.over) > over or scene.offered >= calls or self._enough,
                PATIENCE,
                "nothing is done any more",
            )
            if time.monotonic() > said + EVERY:
                said = time.monotonic()
                sizes = self._sizes()
                self._most = max([self._most, *(size.megabytes for size in sizes)])
                self._say(f"{len(scene.over)} over, {sizes}")
        scene.allow(scene.offered)  # what was allowed last may be more than was wanted

    async def _empty(self) -> int:
        """Wait until all have come to an end, and discard the dead letters; how many."""
        scene = self._scene
        while (over := len(scene.over)) < scene.offered:
            await scene.until(
                lambda over=over: len(scene.over) > over, PATIENCE, "some calls come to no end"
            )
        counts = (await scene.app.broker.counts(["default"]))["default"]
        if counts.ready or counts.delayed or counts.leased:
            raise RunError(f"all is over, and yet there is left: {counts}")
        return await scene.app.broker.purge_dlq("default")

    async def _leftovers(self) -> dict[str, int]:
        await anyio.sleep(TTL)
        calm_since, last = time.monotonic(), dict[str, int]()
        while time.monotonic() < calm_since + CALM:
            found = await anyio.to_thread.run_sync(CENSUS[self._name], self._stage)
            if found != last:
                self._say(f"left: {found}")
                calm_since, last = time.monotonic(), found
            await anyio.sleep(0.5)
        return last

    def _sizes(self) -> list[Size]:
        return [Size.of(worker) for worker in self._scene.workers if worker.runs]


def main() -> None:
    name, calls = sys.argv[1], int(sys.argv[2])
    with TemporaryDirectory() as folder:
        found = anyio.run(Soak(name, Path(folder), calls).run)
    for field, value in found._asdict().items():
        print(f"{field}: {value}")


if __name__ == "__main__":
    main()
