from __future__ import annotations

from benchmarks import weight
from benchmarks.figure import FIGURES, LADEN
from benchmarks.laden import told
from benchmarks.server import Place


def test_the_ratio_to_an_empty_broker_is_the_median_of_those_of_the_turns():
    laden = [{"drain": 90, "latency p50": 2}, {"drain": 50}, {"drain": 100}]
    empty = [{"drain": 100, "latency p50": 1}, {"drain": 100}, {"drain": 100}]
    found = told("queued", laden, empty)
    assert found["drain with queued"] == 0.9
    assert (found["drain laden, queued"], found["drain empty, queued"]) == (90, 100)
    assert found["latency p50 with queued"] == 2


def test_what_was_not_measured_or_was_nothing_has_no_ratio():
    found = told("results", [{"server cpu": 1}], [{"server cpu": 0}])
    assert "server cpu with results" not in found
    assert "drain with results" not in found


def test_each_ratio_has_a_row():
    named = {figure.name for figure in FIGURES}
    assert {f"{name} with {what}" for name in LADEN for what in ("queued", "results")} <= named


def test_what_each_item_adds():
    before, after = {"kept": 100.0, "server": 7.0}, {"kept": 300.0, "server": 7.0}
    assert weight.added(before, after, 100) == {"kept": 2, "server": 0}


def test_a_database_weighs_what_its_files_do(tmp_path):
    for name in ("queue.db", "queue.db-wal"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "other").write_bytes(b"1")
    found = weight.weight(Place(f"sqlite:///{tmp_path / 'queue.db'}"))
    assert found == {"kept": 10, "server": 0}
