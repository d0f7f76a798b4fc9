"""Programs that call tasks without an event loop, and then end: on every transport."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.nats import NatsServer
from servers.redis import RedisServer, newest

TASKS = """
import os, sys, threading, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
from chicory import Chicory, Worker, current
app = Chicory(sys.argv[1])

@app.task(name="add")
async def add(a: int, b: int) -> int:
    return a + b

snoozed = []

@app.task(name="work")
async def work() -> int:
    ctx = current()
    if not snoozed:
        snoozed.append(ctx.task_id)
        ctx.snooze(0.1)
    ctx.progress(1, 2, "half")
    while await app.result(ctx.task_id).progress() is None:
        pass
    return ctx.attempts
"""
ROUND_TRIP = """
worker = Worker(app)
app.run_sync(worker.start)
print(add.delay_sync(2, 3).get_sync(timeout=60), flush=True)
result = work.delay_sync()
print(result.get_sync(timeout=60), app.run_sync(result.progress).note, flush=True)
"""
WAITING = """
def wait():
    print("waits", flush=True)
    begun.set()
    app.result(task_id).get_sync()

begun = threading.Event()
task_id = add.send_sync(1, 1)
threading.Thread(target=wait, daemon=True).start()
begun.wait()
"""
FORKED = """
add.send_sync(1, 1)
child = os.fork()
threads = [threading.Thread(target=add.send_sync, args=(n, n)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(app.run_sync(app.broker.get_queue_size))
"""

LEFT_BEHIND = """
add.send_sync(1, 1)
gone, mine = os.pipe()
ready, said = os.pipe()
if os.fork():
    assert os.read(ready, 1)
    sys.exit()
os.close(mine)
add.send_sync(2, 2)
os.write(said, b"x")
assert not os.read(gone, 1)  # its parent has ended
for number in range(3):
    add.send_sync(number, number)
print(app.run_sync(app.broker.get_queue_size))
"""


AT_EXIT = """
import atexit

def last_words():
    try:
        add.send_sync(1, 1)
        print("sent")
    except Exception as error:
        print(type(error).__name__, error)

atexit.register(last_words)
if "{first}" == "a call before":
    add.send_sync(1, 1)
"""
"""A function that is registered before the first call is called after the loop has ended."""


@pytest.fixture(params=["memory", "sqlite", "redis", "nats"])
def url(request, tmp_path) -> Iterator[str]:
    match request.param:
        case "redis":
            with RedisServer(newest(), tmp_path) as server:
                yield server.url
        case "nats":
            with NatsServer(tmp_path) as server:
                yield server.url
        case "sqlite":
            yield f"sqlite:///{tmp_path / 'queue.db'}"
        case "memory":
            yield "memory://"


def run(program: str, url: str, folder: Path) -> str:
    (folder / "program.py").write_text(TASKS + program)
    command = [sys.executable, "-W", "error", "program.py", url]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_a_call_gets_its_result_and_the_interpreter_ends_in_peace(url, tmp_path):
    assert run(ROUND_TRIP, url, tmp_path) == "5\n1 half\n"


def test_a_daemon_thread_that_waits_does_not_keep_the_interpreter(tmp_path):
    assert run(WAITING, f"sqlite:///{tmp_path / 'queue.db'}", tmp_path) == "waits\n"
    assert not (tmp_path / "queue.db-wal").exists(), "who closes last removes it"


@pytest.mark.parametrize("url", ["sqlite", "redis", "nats"], indirect=True)
def test_a_forked_child_has_a_connection_of_its_own(url, tmp_path):
    assert run(FORKED, url, tmp_path) == "9\n"


@pytest.mark.parametrize("url", ["sqlite", "redis", "nats"], indirect=True)
def test_a_forked_child_goes_on_when_its_parent_has_ended(url, tmp_path):
    assert run(LEFT_BEHIND, url, tmp_path) == "5\n"
    assert run("print(app.run_sync(app.broker.get_queue_size))", url, tmp_path) == "5\n"


@pytest.mark.parametrize("first", ["a call before", "no call before"])
def test_a_call_at_exit_is_sent_or_says_that_it_is_too_late(first, tmp_path):
    url = f"sqlite:///{tmp_path / 'queue.db'}"

    said = run(AT_EXIT.replace("{first}", first), url, tmp_path)

    too_late = "BrokerConnectionError the interpreter ends: no call can be made any more\n"
    assert said == too_late or (said, first) == ("sent\n", "no call before")
    waiting = run("print(app.run_sync(app.broker.get_queue_size))", url, tmp_path)
    assert int(waiting) == (first == "a call before") + (said == "sent\n")
