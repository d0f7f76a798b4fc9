"""A long run on NATS while its server and workers are killed: ``python nats_run.py [CALLS]``.

Not a test that pytest runs, for it takes minutes. Three worker processes settle calls, one in a
hundred as a dead letter, some after a retry. The server is killed three times, and workers over
and over, whose leases nobody gives back. What must hold is told in the end.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))

from servers.nats import NatsServer

from chicory.errors import BrokerConnectionError
from chicory.transport import (
    Dead,
    DeadLetter,
    Delivery,
    Done,
    Publication,
    Record,
    Retry,
    Settled,
    Settlement,
    TransportSettings,
)
from chicory_nats import NatsTransport

_QUEUE = "q"
_WORKERS = 3
_LEASE = 4.0
_BATCH = 250
_ENDS = frozenset({"Done", "Dead"})
_SERVER_DIES = (0.25, 0.5, 0.75)
"""Shares of the calls that are settled then."""
_WORKER_DIES = tuple(number / 40 for number in range(1, 40))


async def insist(verb: Callable[[], Awaitable[Any]]) -> Any:
    """What a caller does whose call was not answered: the same again."""
    while True:
        try:
            return await verb()
        except BrokerConnectionError:
            await anyio.sleep(0.05)


def connect(url: str) -> NatsTransport:
    return NatsTransport(TransportSettings(url=url, lease=_LEASE))


# -- a worker ------------------------------------------------------------------------------------


async def work(url: str, ledger: int) -> None:
    transport = connect(url)
    await insist(transport.open)
    while True:
        found = await insist(lambda: transport.fetch([_QUEUE], 64, math.inf))
        note(ledger, [("ran", one.task_id, one.body.decode()) for one in found])
        await anyio.sleep(0.02)  # the work, in which most of those die that die
        settlements = [settlement(one) for one in found]
        answers = await insist(lambda s=settlements: transport.settle(s))
        done = zip(found, settlements, answers, strict=True)
        note(
            ledger,
            [
                (type(how).__name__, one.task_id, one.body.decode())
                for one, how, answer in done
                if answer is Settled.SETTLED
            ],
        )


def settlement(delivery: Delivery) -> Settlement:
    """By chance, and by the same for each attempt: 5 % retried, 3 % later, 1 % given up."""
    digest = hashlib.sha256(delivery.task_id.encode() + delivery.body).digest()
    chance, attempt = digest[0] / 256, int(delivery.body)
    name = delivery.task_id
    if chance < 0.08 and attempt < 3:
        later = time.time() + 1 if chance < 0.03 else 0.0
        again = Publication(_QUEUE, name, b"%d" % (attempt + 1), delivery.priority, later)
        return Retry(delivery.receipt, again)
    if 0.08 <= chance < 0.09:
        letter = DeadLetter(name, _QUEUE, name, b"", "failed", "", attempt, time.time())
        return Dead(delivery.receipt, letter)
    return Done(delivery.receipt, Record(name, name.encode(), 1e5))


def note(ledger: int, events: Sequence[tuple[str, str, str]]) -> None:
    os.write(ledger, "".join("\t".join(event) + "\n" for event in events).encode())


# -- the run -------------------------------------------------------------------------------------


class Run:
    """Calls, workers and a server, until all calls have an outcome."""

    def __init__(self, folder: Path, calls: int) -> None:
        self.names = [str(number) for number in range(calls)]
        self.ledger = folder / "ledger"
        self._server = NatsServer(folder / "nats")
        self._workers: list[subprocess.Popen[bytes]] = []

    async def main(self) -> None:
        begun = time.monotonic()
        with self._server, self.ledger.open("ab") as ledger:
            try:
                for _ in range(_WORKERS):
                    self._start(ledger.fileno())
                async with connect(self._server.url) as producer:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._kill_workers, ledger.fileno())
                        group.start_soon(self._kill_servers)
                        await self._publish(producer)
                        await self._until_over(producer)
                        group.cancel_scope.cancel()
                    await self._report(producer, time.monotonic() - begun)
            finally:
                for worker in self._workers:
                    worker.kill()
                    worker.wait()

    async def _publish(self, producer: NatsTransport) -> None:
        for start in range(0, len(self.names), _BATCH):
            batch = [Publication(_QUEUE, name, b"0") for name in self.names[start : start + _BATCH]]
            await insist(lambda batch=batch: producer.publish(batch))

    def _start(self, ledger: int) -> None:
        command = [sys.executable, __file__, self._server.url, str(ledger)]
        self._workers.append(subprocess.Popen(command, pass_fds=[ledger]))

    async def _kill_workers(self, ledger: int) -> None:
        for share in _WORKER_DIES:
            await self._until_settled(share)
            victim = self._workers.pop(0)
            victim.kill()
            victim.wait()
            self._start(ledger)

    async def _kill_servers(self) -> None:
        for share in _SERVER_DIES:
            await self._until_settled(share)
            self._server.kill()
            await anyio.to_thread.run_sync(self._server.start)

    async def _until_settled(self, share: float) -> None:
        while self._settled() < share * len(self.names):
            await anyio.sleep(0.02)

    def _settled(self) -> int:
        return sum(kind in _ENDS for kind, *_ in self._events())

    def _events(self) -> list[list[str]]:
        return [line.split("\t") for line in self.ledger.read_text().splitlines()]

    async def _until_over(self, producer: NatsTransport) -> None:
        while True:
            counts = (await insist(lambda: producer.counts([_QUEUE])))[_QUEUE]
            if counts.ready + counts.delayed + counts.leased == 0:
                return
            await anyio.sleep(0.5)

    async def _report(self, producer: NatsTransport, seconds: float) -> None:
        standings = await insist(lambda: producer.look_up(self.names))
        recorded = {
            name
            for name, standing in zip(self.names, standings, strict=True)
            if standing.record == name.encode()
        }
        dead: set[str] = set()
        after: str | None = None
        while page := await insist(lambda a=after: producer.dead_letters(_QUEUE, after=a)):
            dead.update(letter.task_id for letter in page)
            after = page[-1].id
        left = (await insist(lambda: producer.counts([_QUEUE])))[_QUEUE]
        events = self._events()
        ends = Counter(name for kind, name, _ in events if kind in _ENDS)
        runs = Counter((name, attempt) for kind, name, attempt in events if kind == "ran")
        print(f"{len(self.names)} calls in {seconds:.0f} s")
        print(f"lost:                    {len(set(self.names) - recorded - dead)}")
        print(f"with two kinds of end:   {len(recorded & dead)}")
        print(f"settled more than once:  {sum(count > 1 for count in ends.values())}")
        print(f"left on the queue:       {left.ready + left.delayed + left.leased}")
        print(f"records, dead letters:   {len(recorded)}, {len(dead)}")
        print(f"executions:              {runs.total()}, of which {runs.total() - len(runs)} again")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        anyio.run(work, sys.argv[1], int(sys.argv[2]))
    else:
        with TemporaryDirectory() as place:
            anyio.run(Run(Path(place), int((sys.argv[1:] or ["40000"])[0])).main)
