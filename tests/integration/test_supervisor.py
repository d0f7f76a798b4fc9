"""Several worker processes of one command: real ones, with real signals."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from servers.brokers import BROKERS
from servers.redis import free_port

pytestmark = pytest.mark.slow
on_each_broker = pytest.mark.parametrize("broker", BROKERS, indirect=True)
LONG = "240"
STARTED = r"worker process (\d): pid (\d+)$"
READY = r"worker \S+: \d+ tasks known"


BLOCKING = """
import time

@app.task()
async def block(gate: str) -> None:
    while not os.path.exists(gate):
        time.sleep(0.01)
"""


WAITING = """
@app.task()
async def wait() -> None:
    open("begun", "w").close()
    while not os.path.exists("gate"):
        await anyio.sleep(0.01)
"""


class Supervised:
    """A ``chicory worker --workers N`` of this test, and what it and its children log."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chicory.cli", "worker", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        while True:
            line = self._lines.get(timeout=240)
            assert line is not None, f"ended without {pattern!r}:\n" + "\n".join(self.log)
            self.log.append(line)
            if found := re.search(pattern, line):
                return found

    def until_ready(self, count: int) -> list[int]:
        """The process ids of the first ``count`` processes, once that many are at work."""
        ready = 0
        while ready < count:
            ready += bool(re.search(READY, self.until(f"{STARTED}|{READY}").string))
        return [int(found[2]) for line in self.log if (found := re.search(STARTED, line))]

    def until_all_have_ended(self) -> str:
        """Their log is at its end once nobody holds it open any more."""
        while (line := self._lines.get(timeout=240)) is not None:
            self.log.append(line)
        return "\n".join(self.log)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()  # its children notice
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def supervise(folder: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*words: str) -> Supervised:
        started.append(Supervised(folder, *words))
        return started[-1]

    yield start
    for each in started:
        each.end()


def call(chicory, *words: str) -> str:
    said = chicory("call", "tasks", *words, "--timeout", LONG)
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_processes_share_a_queue_and_stop_together(chicory, supervise, beating):
    team = supervise("tasks", "--workers", "3", "-c", "1")
    pids = set(team.until_ready(3))

    workers = {row["pid"] for row in beating(3)}
    answered = {call(chicory, "tasks.pid") for _ in range(3)}
    team.send(signal.SIGTERM)
    log = team.until_all_have_ended()

    assert workers == pids
    assert answered <= pids
    assert team.process.wait() == 0
    assert log.count("SIGTERM: stopping; 0 running tasks") == 3
    assert not any(_alive(pid) for pid in pids)


SHARED = """
from pathlib import Path

def note(name: str) -> None:
    with open("ledger", "a") as ledger:
        ledger.write(f"{name} {os.getpid()}\\n")

@app.task()
async def meet(others: int) -> None:
    note("met")
    while len({line.split()[1] for line in open("ledger")}) < others:
        await anyio.sleep(0.01)

@app.task()
async def mark(name: str) -> None:
    note(name)
"""
ENQUEUE = """
import anyio
import tasks

async def main() -> None:
    async with tasks.app:
        meetings = [await tasks.meet.delay(4) for _ in range(4)]
        await tasks.app.gather(meetings, timeout=60)
        marks = [await tasks.mark.delay(f"mark-{number}") for number in range(200)]
        await tasks.app.gather(marks, timeout=60)

anyio.run(main)
"""


@on_each_broker
def test_four_processes_share_a_queue_and_each_message_runs_once(broker, folder, supervise):
    with (folder / "tasks.py").open("a") as module:
        module.write(SHARED)
    team = supervise("tasks", "--workers", "4", "--concurrency", "1")
    pids = team.until_ready(4)

    # four that wait for one another, one at a time in each process: all four are at work
    subprocess.run([sys.executable, "-c", ENQUEUE], cwd=folder, check=True, timeout=180)
    team.send(signal.SIGTERM)
    team.until_all_have_ended()

    ran = [line.split() for line in (folder / "ledger").read_text().splitlines()]
    assert sorted(int(pid) for name, pid in ran if name == "met") == sorted(pids)
    marks = [name for name, _ in ran if name != "met"]
    assert sorted(marks) == sorted(f"mark-{number}" for number in range(200))
    assert team.process.wait() == 0


def test_one_that_is_killed_is_replaced_and_the_others_go_on(chicory, supervise):
    team = supervise("tasks", "-w", "2")
    first, second = team.until_ready(2)

    os.kill(first, signal.SIGKILL)

    told = team.until(rf"worker process 1 \(pid {first}\) was killed by SIGKILL, replacing it in")
    assert told
    third = int(team.until(STARTED)[2])
    team.until(READY)
    assert call(chicory, "tasks.pid") in {second, third}
    team.send(signal.SIGINT)
    team.until_all_have_ended()
    assert team.process.wait() == 0


def test_a_task_that_ends_its_process_does_not_end_the_others(chicory, supervise, folder):
    with (folder / "tasks.py").open("a") as module:
        module.write("\n@app.task()\ndef leave() -> None:\n    os._exit(2)\n")
    team = supervise("tasks", "-w", "2")
    team.until_ready(2)

    assert chicory("call", "tasks", "tasks.leave").code == 0
    team.until(r"exited with code 2, replacing it in 0.5 s")

    assert call(chicory, "tasks.add", "1") == 2
    team.send(signal.SIGTERM)
    team.until_all_have_ended()
    assert team.process.wait() == 0


@on_each_broker
def test_a_second_signal_kills(broker, chicory, supervise, folder):
    team = supervise("tasks", "-w", "2", "-q", "slow", "--shutdown-timeout", "600")
    team.until_ready(2)
    chicory("call", "tasks", "tasks.linger", "begun")
    while not (folder / "begun").exists():
        assert team.process.poll() is None
    team.send(signal.SIGTERM)
    team.until("stopping; 1 running task")

    team.send(signal.SIGTERM)

    assert "was killed by SIGKILL" in team.until_all_have_ended()
    assert team.process.wait() == 1


@on_each_broker
def test_a_hangup_replaces_them_one_by_one_without_a_gap(broker, chicory, supervise):
    team = supervise("tasks", "-w", "2")
    old = team.until_ready(2)

    team.send(signal.SIGHUP)

    team.until("all worker processes have been replaced")
    said = "\n".join(team.log)
    new = [int(pid) for _, pid in re.findall(STARTED, said, re.MULTILINE)[2:]]
    order = re.findall(rf"{READY}|SIGTERM: stopping;", said)
    assert [bool(re.match(READY, line)) for line in order] == [True, True, True, False, True, False]
    assert not any(_alive(pid) for pid in old)
    assert call(chicory, "tasks.pid") in new
    team.send(signal.SIGTERM)
    team.until_all_have_ended()
    assert team.process.wait() == 0


def test_a_hangup_with_broken_code_keeps_the_old_ones(chicory, supervise, folder):
    team = supervise("tasks", "-w", "2")
    old = team.until_ready(2)
    sound = (folder / "tasks.py").read_text()
    (folder / "tasks.py").write_text("def (")

    team.send(signal.SIGHUP)

    team.until("the new process exited with code 2: the old ones stay")
    (folder / "tasks.py").write_text(sound)
    assert call(chicory, "tasks.pid") in old


def test_new_code_is_taken_up_when_it_is_saved(chicory, supervise, folder):
    team = supervise("tasks", "--reload")
    team.until_ready(1)
    assert call(chicory, "tasks.add", "2", "3") == 5
    text = (folder / "tasks.py").read_text()

    (folder / "tasks.py").write_text(text.replace("return a + b", "return a * b"))

    team.until("tasks.py changed: replacing the worker processes")
    team.until("all worker processes have been replaced")
    assert call(chicory, "tasks.add", "2", "3") == 6
    team.send(signal.SIGTERM)
    team.until_all_have_ended()
    assert team.process.wait() == 0


def test_when_the_supervisor_is_killed_nobody_is_left(chicory, supervise):
    team = supervise("tasks", "-w", "2")
    team.until_ready(2)

    team.send(signal.SIGKILL)

    assert team.until_all_have_ended().count("stopped after 0 tasks") == 2


def test_when_the_supervisor_is_killed_what_drains_already_drains_on(chicory, supervise, folder):
    with (folder / "tasks.py").open("a") as source:
        source.write(WAITING)
    team = supervise("tasks", "-w", "2", "--shutdown-timeout", "600")
    team.until_ready(2)
    chicory("call", "tasks", "tasks.wait")
    while not (folder / "begun").exists():
        assert team.process.poll() is None
    team.send(signal.SIGTERM)
    team.until("stopping; 1 running task")

    team.send(signal.SIGKILL)
    team.until("the supervisor has ended")
    (folder / "gate").touch()

    log = team.until_all_have_ended()
    assert "stopped after 1 tasks, 0 of them failed" in log
    assert "second signal" not in log


def test_a_process_is_recycled_after_its_tasks(chicory, supervise):
    team = supervise("tasks", "--max-tasks", "2")
    (first,) = team.until_ready(1)

    pids = [call(chicory, "tasks.pid") for _ in range(5)]

    assert pids[:2] == [first] * 2
    assert pids[2] == pids[3] != first
    assert pids[4] not in pids[:4]
    team.send(signal.SIGTERM)
    assert "exited with code 0, replacing it in 0 s" in team.until_all_have_ended()
    assert team.process.wait() == 0


RECYCLING = """
import os
from chicory import Chicory, ChicoryConfig, WorkerConfig

app = Chicory(config=ChicoryConfig(worker=WorkerConfig(max_tasks=1)))

@app.task()
def pid() -> int:
    return os.getpid()
"""


@pytest.mark.parametrize("where", ["environment", "program"])
def test_a_process_is_recycled_wherever_that_is_said(
    chicory, supervise, folder, monkeypatch, where
):
    if where == "program":
        (folder / "tasks.py").write_text(RECYCLING)
    else:
        monkeypatch.setenv("CHICORY_WORKER_MAX_TASKS", "1")
    team = supervise("tasks")
    (first,) = team.until_ready(1)

    pids = [call(chicory, "tasks.pid") for _ in range(2)]

    assert pids[0] == first != pids[1]
    team.send(signal.SIGTERM)
    team.until_all_have_ended()
    assert team.process.wait() == 0


def test_a_process_is_recycled_when_it_has_grown(chicory, supervise):
    team = supervise("tasks", "--max-memory", "1")

    team.until(r"MiB of memory, more than 1, stopping")
    team.until(r"exited with code 0, replacing it in 0 s")


def test_processes_that_have_emptied_the_queues_end(chicory, supervise):
    ids = [chicory("call", "tasks", "tasks.add", "1").out.strip() for _ in range(5)]
    team = supervise("tasks", "-w", "2", "--burst")

    team.until_all_have_ended()

    assert team.process.wait() == 0
    states = [json.loads(chicory("result", "tasks", each, "--json").out)["state"] for each in ids]
    assert states == ["SUCCESS"] * 5


def test_a_process_that_has_done_its_share_ends(chicory, supervise):
    for _ in range(9):
        chicory("call", "tasks", "tasks.add", "1")
    team = supervise("tasks", "--max-tasks-total", "3", "-c", "1")

    team.until_all_have_ended()

    assert team.process.wait() == 0
    (row,) = json.loads(chicory("queues", "tasks", "--json").out)
    assert 0 < row["ready"] <= 6
    assert row["running"] == 0


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask_until(url: str, status: int) -> str:
    deadline = time.monotonic() + 60
    while (answer := ask(url))[0] != status:
        assert time.monotonic() < deadline, answer
    return answer[1]


def test_one_port_tells_how_all_of_them_are(chicory, supervise, folder, monkeypatch):
    monkeypatch.setenv("CHICORY_WORKER_BLOCKED_LOOP_WARNING", "0.1")
    monkeypatch.setenv("CHICORY_WORKER_BLOCKED_LOOP_LIMIT", "0.2")
    with (folder / "tasks.py").open("a") as source:
        source.write(BLOCKING)
    team = supervise("tasks", "-w", "2", "--health-port", "0", "--log-format", "json")
    url = team.until(r"health on (http://127.0.0.1:\d+)/live")[1]
    team.until_ready(2)

    ask_until(f"{url}/ready", 200)
    call(chicory, "tasks.add", "1")
    metrics = ask(f"{url}/metrics")[1]
    assert all(f'chicory_concurrency{{process="{n}"}}' in metrics for n in (1, 2))
    assert metrics.count('chicory_queue_messages{queue="default",state="ready"}') == 1
    assert metrics.count('outcome="succeeded"') == 1

    gate = folder / "gate"
    chicory("call", "tasks", "tasks.block", str(gate))
    said = ask_until(f"{url}/live", 503)
    assert re.search(r'"worker process \d: the event loop is blocked for', said)
    gate.touch()
    assert ask_until(f"{url}/live", 200) == '{"status":"ok","reasons":[]}'

    team.send(signal.SIGTERM)
    for line in team.until_all_have_ended().splitlines():
        assert set(json.loads(line)) >= {"time", "level", "logger", "message"}, line
    assert team.process.wait() == 0


SERVING = """
from chicory import Chicory, ChicoryConfig, WorkerConfig

app = Chicory(config=ChicoryConfig(worker=WorkerConfig(health_port={port})))

@app.task()
def nothing() -> None: ...
"""


@pytest.mark.parametrize("before", [None, "the environment says otherwise"])
def test_the_port_that_only_the_program_names_is_served(supervise, folder, monkeypatch, before):
    port = free_port()
    (folder / "tasks.py").write_text(SERVING.format(port=port))
    if before:
        monkeypatch.setenv("CHICORY_WORKER_HEALTH_PORT", str(other := free_port()))
    team = supervise("tasks", "-w", "2")

    team.until(rf"health on http://127.0.0.1:{port}/live")
    team.until_ready(2)

    ask_until(f"http://127.0.0.1:{port}/ready", 200)
    if before:
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(f"http://127.0.0.1:{other}/live")
    team.send(signal.SIGTERM)
    team.until_all_have_ended()
    assert team.process.wait() == 0


def test_a_port_of_the_program_that_is_taken_is_said_once_and_ends_them(supervise, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "tasks.py").write_text(SERVING.format(port=port))
        team = supervise("tasks", "-w", "3")
        log = team.until_all_have_ended()

    assert log.count(f"health_port: 127.0.0.1:{port} cannot be listened on") == 1
    assert team.process.wait() == 2


def test_what_can_never_work_is_said_once(supervise):
    team = supervise("nope", "-w", "3")

    log = team.until_all_have_ended()

    assert log.count("chicory: there is no module 'nope'") == 1
    assert team.process.wait() == 2


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
