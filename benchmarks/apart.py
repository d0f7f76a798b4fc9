"""Tasks in processes of their own, which import this module, too."""

from __future__ import annotations

import time

from benchmarks.busy import spin
from chicory import Chicory

app = Chicory()  # on the broker that the environment names


@app.task(executor="process")
def nap_apart(seconds: float) -> None:
    """Wait for so many seconds."""
    time.sleep(seconds)


@app.task(executor="process")
def spin_apart(seconds: float) -> None:
    """Take so many seconds of a processor's time."""
    spin(seconds)
