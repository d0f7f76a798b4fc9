"""What is found of a worker's health, and what follows."""

from __future__ import annotations

import pytest

from chicory.worker.checkup import DEAF_LIMIT, Findings, moribund, unready

LIMIT, WARNING = 300.0, 1.0
WELL = {"phase": "working"}


@pytest.mark.parametrize(
    ("found", "dying", "waiting"),
    [
        ({}, [], []),
        ({"phase": "starting"}, [], ["the worker is starting"]),
        ({"phase": "stopping"}, [], ["the worker is stopping"]),
        ({"blocked": 0.9}, [], []),
        ({"blocked": 2.0}, [], ["the event loop is blocked for 2 s"]),
        ({"blocked": 301.0}, ["the event loop is blocked for 301 s"], None),
        ({"deaf": 7.0}, [], ["messages wait and none has been fetched for 7 s"]),
        ({"deaf": DEAF_LIMIT}, ["messages wait and none has been fetched for 60 s"], None),
        ({"kept": False}, ["the keeper has died: leases are not renewed"], None),
        ({"lapsed": 12.0}, [], ["leases have not been renewed for 12 s"]),
        (
            {"lapsed": 12.0, "cut_off": True},
            ["leases have not been renewed for 12 s, although the broker answers"],
            None,
        ),
        ({"cut_off": True}, [], []),
        ({"unreachable": ("gone", "too")}, [], ["gone", "too"]),
        (
            {"phase": "stopping", "unreachable": ("gone",), "blocked": 2.0},
            [],
            ["the worker is stopping", "the event loop is blocked for 2 s", "gone"],
        ),
    ],
)
def test_a_worker_is_replaced_for_what_it_does_not_get_over(found, dying, waiting):
    findings = Findings(**(WELL | found))

    assert moribund(findings, LIMIT) == dying
    assert unready(findings, WARNING) == (dying if waiting is None else waiting)
