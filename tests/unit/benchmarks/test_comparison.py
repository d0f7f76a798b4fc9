from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchmarks import comparison, plot
from benchmarks.contender import CONTENDERS, against, share, takes_part
from benchmarks.figure import Figure
from benchmarks.run import Run, Sample, in_short
from benchmarks.scale import QUICK
from benchmarks.variant import Variant

OURS = Variant("redis", "asyncio")
THEIRS = next(one for one in CONTENDERS if one.name == "saq").variant


@pytest.fixture
def found() -> Run:
    run = Run(begun=datetime.now(UTC), scale=QUICK, machine={"cpu": "one"})
    for turn, (mine, theirs) in enumerate([(4000, 100), (3000, 60), (100, 50)]):
        run.samples.append(Sample(turn, "drain", OURS, {"drain": mine}, 0.5, 1.0))
        run.samples.append(Sample(turn, "drain", THEIRS, {"drain": theirs}, 0.1, 1.0))
    return run


def test_a_ratio_is_the_median_of_the_rounds_ratios(found):
    # not the ratio of the medians: a slow minute counts for both
    assert found.ratio("drain", OURS, THEIRS) == 40
    assert found.ratio("drain", OURS, Variant("redis", "trio")) is None


def test_the_table_has_a_row_for_each_with_the_ratio_and_the_spread(found):
    console = Console(record=True, width=100)
    found.failures.append("latency of celery, threads: [gone]")
    comparison.show(found, console)
    text = console.export_text()
    row = next(line for line in text.splitlines() if line.startswith("saq"))
    assert row.split() == ["saq,", "uvloop", "60", "[50..100]", "40.00"]
    assert "took 30% of the processors, at worst 50%" in " ".join(text.split())
    assert "each round begins with the next one" in " ".join(text.split())
    assert "rates are too low" in " ".join(text.split())
    assert "latency of celery, threads: [gone]" in text


def test_the_plot_is_a_picture_of_all_that_were_compared(found, tmp_path):
    picture = ET.parse(plot.save(found, tmp_path / "plot.svg"))
    text = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert text == [
        "redis: drain, tasks/s (logarithmic)",
        *("chicory, asyncio", "3,000", "saq, uvloop", "60"),
        f"{found.begun:%Y-%m-%d}, medians of 3 rounds, one",
    ]
    bars = [float(bar.get("width")) for bar in picture.iter() if bar.get("fill", "")[0:1] == "#"]
    assert bars[0] > bars[1] > 0


def test_the_plot_leaves_out_what_only_one_was_measured_for(found, tmp_path):
    found.samples = found.samples[:1]
    picture = ET.parse(plot.save(found, tmp_path / "plot.svg"))
    (text,) = picture.iter("{http://www.w3.org/2000/svg}text")
    assert "medians of 1 rounds" in text.text


def test_each_contender_has_a_program_and_is_pinned():
    for one in CONTENDERS:
        assert find_spec(f"benchmarks.peers.{one.program}"), one.name
        assert all("==" in requirement for requirement in one.requirements)


def test_a_slower_one_is_given_a_share_and_what_means_something_for_it():
    floor = against("redis")[0].variant
    assert (share(OURS, 1000), share(THEIRS, 1000)) == (1000, 100)
    assert takes_part(OURS, "latency")
    assert takes_part(THEIRS, "latency")
    assert takes_part(floor, "latency")
    assert not takes_part(floor, "recovery")


def test_a_value_that_was_waited_for_in_vain_is_told_as_such():
    recovery = Figure("recovery", "s", digits=2, limit=30)
    assert [recovery.text(value) for value in (6.9, 30.0)] == ["6.90", "> 30"]


def test_of_a_failure_people_are_told_the_last_line():
    assert in_short("drain of saq: gone\nTraceback\n  File\nTimeoutError\n") == (
        "drain of saq: gone TimeoutError"
    )
    assert in_short("gone\n") == "gone"
