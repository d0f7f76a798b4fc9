"""A worker that is asked how it is, while it works, waits, and cannot."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import threading
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import anyio
import pytest
from anyio import Event, to_thread
from cable import Cable, CabledTransport
from unit.working import at_work

from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.endpoint import Endpoint
from chicory.errors import ConfigurationError
from chicory.worker.insistence import Insistence
from chicory.worker.keeper import Keeper

PATIENCE = 60
OK = (200, [])


class Asked:
    """An endpoint that only the test knows: it calls what would be asked over HTTP."""

    def __init__(self) -> None:
        self.respond = None

    @contextmanager
    def __call__(self, respond):
        self.respond = respond
        yield

    def now(self, path: str) -> tuple[int, list[str]]:
        """Blocks; to be called from a thread, or from a task that blocks the event loop."""
        assert self.respond is not None
        answer = self.respond(path)
        return answer.status, json.loads(answer.body)["reasons"]

    async def __aenter__(self):
        return self

    async def heard(self, path: str) -> tuple[int, list[str]]:
        return await to_thread.run_sync(self.now, path)

    async def until(self, path: str, status: int) -> list[str]:
        while (answer := await self.heard(path))[0] != status:
            await anyio.lowlevel.checkpoint()
        return answer[1]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def working(app, asked):
    @asynccontextmanager
    async def working(*, ready=True, on=app, **settings):
        worker = Worker(on, WorkerConfig(**settings), endpoint=asked)
        async with at_work(worker, PATIENCE):
            if ready:
                await asked.until("/ready", 200)
            yield worker

    return working


async def test_a_worker_that_waits_for_work_is_ready(working, asked):
    async with working():
        assert await asked.heard("/ready") == OK
        assert await asked.heard("/live") == OK


async def test_without_its_broker_it_is_not_ready_but_lives(app, working, asked, cable):
    async with working():
        cable.pull()

        assert await asked.heard("/ready") == (503, ["the cable is pulled"])
        assert await asked.heard("/live") == OK

        cable.mend()
        await asked.until("/ready", 200)


async def test_a_broker_that_does_not_answer_in_time_keeps_it_from_being_ready(
    working, asked, cable, monkeypatch
):
    monkeypatch.setattr("chicory.worker.reception.PATIENCE", 0.02)
    async with working():
        cable.stuck.add("ping")

        assert await asked.heard("/ready") == (503, ["no answer within 0.02 s"])


async def test_a_keeper_that_is_not_connected_yet_keeps_it_from_being_ready(
    working, asked, monkeypatch
):
    insist, gate = Insistence.once, asyncio.Event()

    async def insist_later(self, duty, name):
        if name == "the keeper's connecting":
            await gate.wait()
        await insist(self, duty, name)

    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)
    monkeypatch.setattr(Insistence, "once", insist_later)
    async with working(ready=False):
        assert await asked.heard("/ready") == (
            503,
            ["the keeper is not connected to the broker yet"],
        )
        assert await asked.heard("/live") == OK


async def test_a_blocked_event_loop_is_told_while_it_is_blocked(app, working, asked):
    seen = {}

    @app.task(name="block")
    async def block() -> None:
        for path in ("/ready", "/live"):
            while (answer := asked.now(path))[0] != 503:
                threading.Event().wait(0.001)
            seen[path] = answer[1]
            seen.setdefault("lived", asked.now("/live"))

    async with working(blocked_loop_warning=0.02, blocked_loop_limit=1.0):
        await (await block.delay()).get()
        await asked.until("/live", 200)
        await asked.until("/ready", 200)

    assert "the event loop is blocked for" in seen["/ready"][0]
    assert "the event loop is blocked for" in seen["/live"][0]
    assert seen["lived"] == OK


async def test_a_worker_that_does_not_see_what_waits_is_not_ready_and_in_the_end_not_alive(
    app, working, asked, cable, log, monkeypatch
):
    for name in ("DEAF_AFTER", "DEAF_FOR"):
        monkeypatch.setattr(f"chicory.worker.fetchwatch.{name}", 0.01)
    monkeypatch.setattr("chicory.worker.checkup.DEAF_LIMIT", 0.1)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    cable.stuck.add("fetch")
    async with working():
        handle = await quick.delay()
        unready = await asked.until("/ready", 503)
        dying = await asked.until("/live", 503)
        cable.mend()
        await handle.get()
        await asked.until("/ready", 200)
        assert await asked.heard("/live") == OK

    for (reason,) in (unready, dying):
        assert reason.startswith("messages wait and none has been fetched for")
    assert log.count("messages wait and the fetch does not see them") == 1


async def test_a_fetch_that_is_refused_time_and_again_is_deaf_too(
    app, working, asked, cable, monkeypatch
):
    for name in ("DEAF_AFTER", "DEAF_FOR"):
        monkeypatch.setattr(f"chicory.worker.fetchwatch.{name}", 0.01)

    @app.task(name="quick")
    async def quick() -> None: ...

    cable.down.add("fetch")
    async with working():
        handle = await quick.delay()
        (reason,) = await asked.until("/ready", 503)
        cable.mend()
        await handle.get()

    assert reason.startswith("messages wait")


async def test_busy_slots_and_paused_queues_are_no_reproach(
    app, working, asked, cable, monkeypatch
):
    for name in ("DEAF_AFTER", "DEAF_FOR"):
        monkeypatch.setattr(f"chicory.worker.fetchwatch.{name}", 0.01)
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    async with working(concurrency=1, heartbeat_interval=0.01, heartbeat_ttl=1):
        first, second = await hold.delay(), await hold.delay()
        await begun.wait()
        for _ in range(5):
            assert await asked.heard("/ready") == OK
            await cable.called("beat", cable.calls["beat"] + 2)
        await app.broker.pause()
        gate.set()
        await first.get()
        looks = cable.calls["counts"]
        await cable.called("counts", looks + 3)

        assert await asked.heard("/ready") == OK
        await app.broker.resume()
        await second.get()


async def test_while_it_stops_it_is_not_ready_and_lives(app, working, asked):
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    async with working() as worker:
        await hold.send()
        await begun.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            reasons = await asked.until("/ready", 503)
            assert await asked.heard("/live") == OK
            gate.set()

    assert reasons == ["the worker is stopping"]


async def test_before_it_is_connected_it_is_starting(app, asked, cable):
    worker = Worker(app, endpoint=asked)
    cable.stuck.add("open")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.start)
            await cable.called("open", 1)

            assert await asked.heard("/ready") == (503, ["the worker is starting"])
            assert await asked.heard("/live") == OK

            cable.mend()
        await worker.stop()


async def test_a_worker_whose_keeper_has_died_is_to_be_replaced(working, asked, monkeypatch):
    async def die(self):
        raise RuntimeError("a fault")

    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)
    monkeypatch.setattr(Keeper, "_run", die)
    async with working(ready=False):
        reasons = await asked.until("/live", 503)

    assert reasons == ["the keeper has died: leases are not renewed"]


async def test_a_keeper_that_cannot_renew_is_no_reason_to_replace_it_unless_the_broker_answers(
    url, clock, working, asked, monkeypatch
):
    monkeypatch.setattr("chicory.worker.patience.LONGEST", 0.02)
    app = Chicory(url, clock=clock, config=ChicoryConfig(lease=0.08))
    cable = Cable()
    app.broker_link.template = CabledTransport.over(app.broker_link.template, cable)
    gates, begun = [Event(), Event()], []

    @app.task(name="hold")
    async def hold(number: int) -> None:
        begun.append(number)
        await gates[number].wait()

    cable.down.add("renew")
    async with app, working(on=app):
        first, second = [await hold.delay(number) for number in (0, 1)]
        while len(begun) < 2:
            await anyio.lowlevel.checkpoint()
        (unready,) = await asked.until("/ready", 503)
        assert await asked.heard("/live") == OK  # the broker is gone, for all that is known
        gates[0].set()
        await first.get()
        (dying,) = await asked.until("/live", 503)
        cable.mend()
        await asked.until("/ready", 200)
        assert await asked.heard("/live") == OK
        gates[1].set()
        await second.get()

    assert unready.startswith("leases have not been renewed for")
    assert dying.endswith("although the broker answers")


async def test_a_worker_that_may_fetch_no_more_is_not_ready_and_lives(
    app, cable, working, asked, monkeypatch
):
    monkeypatch.setattr("chicory.worker.patience.LONGEST", 0.02)

    @app.task(name="quick")
    async def quick() -> None: ...

    async with working():
        await (await quick.delay()).get()
        cable.refused["fetch"] = ConfigurationError("the user lacks a permission")
        await quick.delay()
        reasons = await asked.until("/ready", 503)
        alive = await asked.heard("/live")
        cable.mend()
        await asked.until("/ready", 200)

    assert reasons == ["the user lacks a permission"]
    assert alive == OK


# -- over HTTP ----------------------------------------------------------------------------


def get(url: str) -> tuple[int, list[str]]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
    connection.request("GET", where.path)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())["reasons"]
    connection.close()
    return found


async def test_the_port_in_the_settings_is_served_while_the_worker_runs(app, log):
    logging.getLogger("chicory").setLevel(logging.INFO)
    with anyio.fail_after(PATIENCE):
        async with Worker(app, WorkerConfig(health_port=0)):
            (line,) = [line for line in log.lines if line.startswith("health on ")]
            url = line.removeprefix("health on ").partition(",")[0]
            assert await to_thread.run_sync(get, url) == OK
        with pytest.raises(ConnectionRefusedError):
            await to_thread.run_sync(get, url)


async def test_a_port_that_is_taken_is_an_error_at_the_start(app):
    with Endpoint("127.0.0.1", 0, lambda _: None) as taken:
        port = urlsplit(taken.url).port
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} cannot be listened on"):
            await Worker(app, WorkerConfig(health_port=port)).start()


async def test_nothing_is_measured_where_nobody_asks(app):
    async with Worker(app) as worker:
        assert worker._run.tally.meter is None
