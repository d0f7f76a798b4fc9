"""What runs for every task finds its rows by an index: a million others cost nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from chicory_sqlite.address import Address
from chicory_sqlite.database import connect
from chicory_sqlite.statements import load

COLD = {"insert"}
NOUNS = ("messages", "records", "letters")
HOT = [(noun, name) for noun in NOUNS for name in load(noun) if name not in COLD]
NAMED = ("queues", "seqs", "ns", "queue", "limit", "inline", "due", "after", "last", "now", "dues")


@pytest.fixture
def db(path):
    with closing(connect(Address(path))) as db:
        yield db


def plan(db, sql) -> list[str]:
    parameters = dict.fromkeys(NAMED, 1) if ":" in sql else (1,) * sql.count("?")
    return [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + sql, parameters)]


@pytest.mark.parametrize(("noun", "name"), HOT)
def test_no_table_of_ours_is_scanned_or_sorted(db, noun, name):
    steps = plan(db, load(noun)[name].split("\n", 1)[1])

    scans = " ".join(step for step in steps if step.startswith("SCAN"))
    assert "chicory_" not in scans
    assert not [word for word in scans.split() if word in {"q", "m", "t", "l"}]
    assert not [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("noun", "name", "index"),
    [
        ("messages", "ready", "chicory_message_ready"),
        ("messages", "promote", "COVERING INDEX chicory_message_delayed"),
        ("messages", "promote", "COVERING INDEX chicory_message_leased"),
        ("messages", "glance", "COVERING INDEX chicory_message_ready"),
        ("messages", "glance", "COVERING INDEX chicory_message_delayed"),
        ("messages", "glance", "COVERING INDEX chicory_message_leased"),
        ("messages", "find", "chicory_message_id"),
        ("messages", "purge_timer", "INDEX chicory_message_delayed"),
        ("messages", "purge_timer", "INDEX chicory_message_leased"),
        ("records", "prune", "COVERING INDEX chicory_record_expiry"),
        ("queues", "timed", "COVERING INDEX chicory_message_delayed"),
        ("queues", "timed", "COVERING INDEX chicory_message_leased"),
        ("queues", "ready", "COVERING INDEX chicory_message_ready"),
    ],
)
def test_the_index_made_for_it_is_used(db, noun, name, index):
    assert index in " ".join(plan(db, load(noun)[name].split("\n", 1)[1]))


def test_every_statement_is_headed_by_its_promise():
    nouns = ("messages", "records", "letters", "queues", "heartbeats", "session", "schema")
    for noun in (*nouns, "temporary"):
        for name, sql in load(noun).items():
            assert sql.startswith("-- "), (noun, name)


def test_the_database_is_a_write_ahead_log(db):
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert isinstance(db, sqlite3.Connection)
