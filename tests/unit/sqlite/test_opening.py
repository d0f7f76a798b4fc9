"""Opening a file: made for its owner, shared by many, refused with a sentence."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import msgspec
import pytest

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import dead, ids, take
from chicory.transport import Dead, Publication, TransportSettings
from chicory_sqlite import SQLiteTransport, database
from chicory_sqlite.address import Address

OPEN_AND_PUBLISH = """
import sys, anyio
from chicory.transport import Publication, TransportSettings
from chicory_sqlite import SQLiteTransport
async def main(url, name):
    async with SQLiteTransport(TransportSettings(url=url)) as transport:
        await transport.publish([Publication("q", name, b"")])
sys.stdin.readline()
anyio.run(main, *sys.argv[1:])
"""


def transport_on(path) -> SQLiteTransport:
    return SQLiteTransport(TransportSettings(url=f"sqlite:///{path}"))


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def opener(path, number):
    command = [sys.executable, "-c", OPEN_AND_PUBLISH, f"sqlite:///{path}", str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


async def test_only_the_owner_reads_the_files(make, path):
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])

        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}

    assert set(modes) == {"queue.db", "queue.db-wal", "queue.db-shm", "queue.db-lock"}
    assert set(modes.values()) == {0o600}


async def test_the_file_that_a_link_names_is_made_for_its_owner_only(make, path):
    target = path.with_name("target.db")
    path.symlink_to(target)
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}

    assert target.name in modes
    assert set(modes.values()) == {0o600}


async def test_tables_of_others_stay(make, path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
        db.execute("INSERT INTO mine VALUES (1)")
    db.close()

    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])

    db = sqlite3.connect(path)
    assert db.execute("SELECT a FROM mine").fetchall() == [(1,)]
    db.close()


async def test_a_newer_schema_is_refused_and_left_untouched(make, path):
    async with make():
        pass
    db = sqlite3.connect(path)
    db.execute("UPDATE chicory_meta SET value = 7 WHERE key = 'schema'")
    db.commit()
    db.close()
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match=r"newer chicory \(schema 7; this one knows 3\)"):
        await make().open()

    assert path.read_bytes() == before


async def test_letters_of_schema_1_are_read_and_are_followed_by_others(make, path):
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])
        await transport.settle([dead(one) for one in await take(transport, queues=["q"])])
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE chicory_letter DROP COLUMN error_type")
    db.execute("UPDATE chicory_meta SET value = 1 WHERE key = 'schema'")
    db.commit()
    db.close()

    async with make() as transport, make() as other:
        await transport.publish([Publication("q", "2", b"")])
        (delivery,) = await take(transport, queues=["q"])
        second = msgspec.structs.replace(dead(delivery).letter, error_type="shop.NoLuckError")
        await transport.settle([Dead(delivery.receipt, second)])

        letters = await other.dead_letters()

    assert ids(letters) == ["1", "2"]
    assert [each.error_type for each in letters] == ["", "shop.NoLuckError"]
    async with make():
        pass  # the column is there already


async def test_delayed_messages_of_schema_2_are_fetched_and_its_index_is_gone(make, path, clock):
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"", not_before=clock.now() + 10)])
    with closing(sqlite3.connect(path)) as db:
        for name in ("delayed", "leased"):
            db.execute(f"DROP INDEX chicory_message_{name}")
        db.execute(
            "CREATE INDEX chicory_message_timer ON chicory_message (ns, due) WHERE state > 0"
        )
        db.execute("UPDATE chicory_meta SET value = 2 WHERE key = 'schema'")
        db.commit()

    async with make() as transport:
        clock.advance(10)
        assert ids(await take(transport, queues=["q"])) == ["1"]

    with closing(sqlite3.connect(path)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    assert names >= {"chicory_message_delayed", "chicory_message_leased"}
    assert "chicory_message_timer" not in names


async def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"something else entirely" * 100)

    with pytest.raises(ConfigurationError, match="is not an SQLite database"):
        await transport_on(path).open()

    assert path.read_bytes() == b"something else entirely" * 100


async def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is a directory"):
        await transport_on(tmp_path).open()


async def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"folder .*absent does not exist"):
        await transport_on(tmp_path / "absent" / "a.db").open()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be created"):
        await transport_on("/proc/self/queue.db").open()


async def test_a_network_filesystem_is_refused(monkeypatch, path):
    monkeypatch.setattr(database, "network_filesystem_of", lambda _: "nfs4")

    with pytest.raises(ConfigurationError, match=r"network filesystem \(nfs4\)"):
        await transport_on(path).open()

    assert not path.exists()


async def test_an_old_sqlite_is_refused(monkeypatch, path):
    monkeypatch.setattr(database, "_OLDEST", (99, 0, 0))

    with pytest.raises(ConfigurationError, match=r"needs 3\.35 or newer"):
        await transport_on(path).open()


def test_the_switch_to_a_log_is_tried_again_where_another_process_is_in_the_way(path):
    answers = [busy(), busy(), ("wal",)]

    class Connection:
        def execute(self, sql):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return self

        def fetchone(self):
            return ("wal",)

    database._use_write_ahead_log(Connection(), Address(path))

    assert answers == []


async def test_a_refused_open_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())

    with pytest.raises(ConfigurationError):
        await transport_on(tmp_path).open()

    assert set(threading.enumerate()) <= before  # idle ones of the event loop may end by themselves


async def test_closing_twice_ends_all_threads(make):
    before = set(threading.enumerate())
    transport = make()
    await transport.open()

    await transport.close()
    await transport.close()

    assert set(threading.enumerate()) <= before  # idle ones of the event loop may end by themselves
    with pytest.raises(BrokerConnectionError, match="is closed"):
        await transport.ping()


async def test_a_verb_before_open_is_an_error(make):
    with pytest.raises(BrokerConnectionError, match="is not open"):
        await make().ping()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_eight_processes_open_a_fresh_file_at_once(make, path):
    processes = [opener(path, number) for number in range(8)]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()

    assert [process.communicate()[1] for process in processes] == [b""] * 8
    async with make() as transport:
        assert (await transport.counts(["q"]))["q"].ready == 8


async def test_what_is_not_there_is_not_made_where_that_is_not_wanted(tmp_path):
    path = tmp_path / "typo.db"
    settings = TransportSettings(url=f"sqlite:///{path}", create=False)

    with pytest.raises(ConfigurationError, match=r"there is no file .*typo\.db: check the name"):
        await SQLiteTransport(settings).open()
    assert list(tmp_path.iterdir()) == []

    async with transport_on(path):
        ...
    async with SQLiteTransport(settings) as transport:
        await transport.ping()
