"""A process that forks, and its children, each keep the file's locks for themselves."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from chicory.errors import BrokerConnectionError
from chicory_sqlite import forking
from chicory_sqlite.forking import Gate

_BUSY = """
import os, sys, threading, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
from chicory import Chicory
app = Chicory(sys.argv[1])

@app.task(name="note")
def note(number: int) -> None: ...

def send():
    while not over.is_set():
        sent.append(note.send_sync(0))

over, sent, children = threading.Event(), [], 0
threads = [threading.Thread(target=send) for _ in range(2)]
note.send_sync(0)
for thread in threads:
    thread.start()
for children in range(1, 21):
    child = os.fork()
    if not child:
        os._exit(0 if note.send_sync(children) else 1)
    assert os.waitpid(child, 0)[1] == 0
over.set()
for thread in threads:
    thread.join()
print(app.run_sync(app.broker.get_queue_size) - len(sent) - children)
"""


def test_a_process_that_forks_while_its_threads_send_loses_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'queue.db'}?busy_timeout=10"

    said = subprocess.run(
        [sys.executable, "-c", _BUSY, url], capture_output=True, text=True, timeout=120, check=False
    )

    assert (said.stdout, said.stderr) == ("1\n", "")


def _hold(gate: Gate, held: threading.Event, let_go: threading.Event) -> None:
    with gate.inside():
        held.set()
        let_go.wait()


@pytest.fixture
def held():
    """A gate that somebody is inside, and what lets him out."""
    gate, inside, let_go = Gate(), threading.Event(), threading.Event()
    holder = threading.Thread(target=_hold, args=(gate, inside, let_go))
    holder.start()
    inside.wait()
    yield gate, let_go
    let_go.set()
    holder.join()


def test_a_fork_waits_for_what_is_under_way(held):
    gate, let_go = held
    forked = threading.Event()
    forking = threading.Thread(target=lambda: (gate.before_fork(), forked.set()))
    forking.start()

    assert not forked.wait(0)
    let_go.set()
    forking.join()
    gate.after_in_parent()

    with gate.inside():
        pass


def test_where_a_fork_waits_in_vain_the_child_uses_no_sqlite(held, monkeypatch):
    gate, _ = held
    monkeypatch.setattr(forking, "PATIENCE", 0)

    gate.before_fork()
    gate.after_in_child()

    with pytest.raises(BrokerConnectionError, match="was forked in a transaction"), gate.inside():
        pass
    monkeypatch.setattr(gate, "_inside", 1)  # for who is still inside, which a child has not


def test_nobody_begins_while_a_process_forks():
    gate, begun = Gate(), threading.Event()
    gate.before_fork()
    late = threading.Thread(target=_hold, args=(gate, begun, begun))
    late.start()

    assert not begun.wait(0)
    gate.after_in_parent()
    late.join()
    assert begun.is_set()
