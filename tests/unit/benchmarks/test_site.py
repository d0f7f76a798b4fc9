from __future__ import annotations

import re

import pytest

from benchmarks import site
from benchmarks.variant import Variant

MEMORY = Variant("memory", "asyncio")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(site, "_WARMING_UP", 1)


def done(*errands):
    """The figures of the last one, all done on one and the same broker."""
    with site.site(MEMORY) as one:
        return [one.perform(errand, **told) for errand, told in errands][-1]


def test_what_is_in_memory_stays_for_the_errands_after_it():
    failing, drain = {"task": "fail", "count": 3}, ("drain", {"count": 1})

    assert done(drain)["drain"] > 0
    with pytest.raises(RuntimeError, match=r"left over: .*dead=3"):
        done(("fill", failing), ("soak", failing), drain)


def test_an_errand_that_fails_says_what_it_said():
    said = re.compile("failed at nothing:\n.*KeyError", re.DOTALL)

    with pytest.raises(RuntimeError, match=said):
        done(("nothing", {}))


def test_calls_are_timed_beside_the_others_in_the_one_process():
    with site.site(MEMORY) as one:
        one.perform("lade", ballast="queued", count=50)
        assert one.echo(queue="aside", count=1, seconds=5)["calls timed"] == 1
        assert one.weight()["kept"] > 0
