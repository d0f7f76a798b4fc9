"""A plain ``def`` that never returns, and the process that runs it."""

import json
import signal

import pytest

STUCK = """
import threading
from chicory import Chicory

app = Chicory()

@app.task()
def stuck(path: str) -> None:
    open(path, "w").close()
    threading.Event().wait()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_a_thread_that_never_ends_does_not_keep_a_stopped_worker_alive(
    chicory, worker, folder, loop
):
    (folder / "endless.py").write_text(STUCK)
    begun = folder / "begun"
    process = worker("endless", "--loop", loop, "--shutdown-timeout", "0.1")
    chicory("call", "endless", "endless.stuck", "begun")
    while not begun.exists():
        assert process.process.poll() is None

    process.send(signal.SIGTERM)
    code = process.wait()
    (row,) = json.loads(chicory("queues", "endless", "--json").out)

    assert code == 0
    assert "giving back 1 tasks" in process.log.read_text()
    assert (row["ready"], row["running"], row["dead"]) == (1, 0, 0)
