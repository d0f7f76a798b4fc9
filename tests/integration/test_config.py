"""What ``chicory config`` says is in force."""

import json

import pytest

PROGRAM = """
from chicory import Chicory, ChicoryConfig
from chicory.config import WorkerConfig

app = Chicory(config=ChicoryConfig(worker=WorkerConfig(concurrency=7)))
"""


@pytest.fixture
def rows(chicory):
    def ask(*words):
        said = chicory("config", *words, "--json")
        assert said.code == 0, said.err
        return {row["variable"]: row for row in json.loads(said.out)}

    return ask


def test_each_value_tells_where_it_came_from(rows, folder, monkeypatch):
    (folder / "settled.py").write_text(PROGRAM)
    (folder / ".env").write_text("CHICORY_LEASE=5\nCHICORY_NAMESPACE=dot")
    (folder / "secret").write_text("hush")
    monkeypatch.setenv("CHICORY_NAMESPACE", "shop")
    monkeypatch.setenv("CHICORY_BROKER_REDIS_PASSWORD_FILE", "secret")

    found = rows("settled")

    def pair(variable):
        return found[variable]["value"], found[variable]["from"]

    assert pair("CHICORY_WORKER_CONCURRENCY") == ("7", "the program")
    assert pair("CHICORY_NAMESPACE") == ("shop", "environment")
    assert pair("CHICORY_LEASE") == ("5.0", ".env")
    assert pair("CHICORY_WORKER_QUEUE") == ("default", "default")
    assert pair("CHICORY_BROKER_REDIS_PASSWORD") == (
        "***",
        "environment, CHICORY_BROKER_REDIS_PASSWORD_FILE",
    )
    assert "hush" not in json.dumps(found)


def test_without_an_app_every_variable_is_explained(rows):
    found = rows()

    assert found["CHICORY_WORKER_HEARTBEAT_TTL"] == {
        "variable": "CHICORY_WORKER_HEARTBEAT_TTL",
        "default": "30.0",
        "takes": "a number above 0",
        "option": "--heartbeat-ttl",
        "meaning": "seconds after which a silent worker counts as dead",
    }
