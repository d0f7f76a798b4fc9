import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import chicory

SOURCE = Path(chicory.__file__)

# the imports of design section 4, word for word: they stand in users' programs
PROGRAM = """
from chicory import (Chicory, Worker, Task, TaskContext, AsyncResult, ChicoryConfig, WorkerConfig,
    BrokerType, BackendType, DeliveryMode, ValidationMode, RetryPolicy, RetryBackoff,
    TaskState, TaskMessage, TaskResult, TaskOptions, WorkerStats,
    ChicoryError, TaskNotFoundError, ValidationError, RetryError, MaxRetriesExceededError,
    BackendNotConfiguredError, BrokerConnectionError)
from chicory.config import (ChicoryConfig, WorkerConfig, BrokerConfig, BackendConfig,
    RedisBrokerConfig, RedisBackendConfig)
from chicory.config import (NatsBrokerConfig, NatsBackendConfig, SQLiteBrokerConfig,
    SQLiteBackendConfig)
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_the_imports_of_users_programs_work():
    names: dict[str, object] = {}

    exec(PROGRAM, names)

    assert names["Chicory"] is chicory.Chicory
    assert names["ChicoryConfig"] is chicory.ChicoryConfig


def test_all_public_names_are_there_and_have_one_home():
    assert chicory.__all__ == sorted(set(chicory.__all__))
    assert set(chicory.__all__) == chicory._HOME.keys()
    assert len(chicory._HOME) == sum(map(len, chicory._HOMES.values()))
    for name, home in chicory._HOME.items():
        value = getattr(chicory, name)
        module = sys.modules[f"chicory.{home}"]
        assert value is getattr(module, name)
        assert value.__module__.startswith(f"chicory.{home}"), name


def test_what_type_checkers_see_is_what_there_is():
    (block,) = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    seen: dict[str, list[str]] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        seen[node.module.removeprefix("chicory.")] = [alias.name for alias in node.names]

    assert seen == chicory._HOMES


def test_from_chicory_import_everything_works():
    code = "from chicory import *; import chicory; print(set(chicory.__all__) <= set(globals()))"

    assert run(code) == "True\n"


def test_public_names_are_listed_before_they_are_used():
    names = run("import chicory; print(*dir(chicory))").split()

    assert set(chicory.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'chicory' has no attribute 'Celery'"):
        _ = chicory.Celery
    with pytest.raises(ImportError, match=r"cannot import name 'Celery'"):
        exec("from chicory import Celery")


def test_the_version_is_that_of_the_distribution():
    assert chicory.__version__ == version("chicory")


LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
HEAVY = {
    "anyio", "asyncio", "attr", "cyclopts", "dotenv", "email", "hypothesis", "importlib_metadata",
    "logging", "msgspec", "multiprocessing", "nats", "pydantic", "pytest", "redis", "rich",
    "socket", "sqlite3", "ssl", "subprocess", "trio", "uvloop",
}  # fmt: skip
NEEDED = {"anyio", "asyncio", "logging", "msgspec", "socket", "ssl", "subprocess"}


def test_import_chicory_loads_next_to_nothing():
    before = set(run(LOADED).split())

    loaded = set(run(f"import chicory; {LOADED}").split()) - before

    assert "chicory" in loaded
    assert not loaded & HEAVY


def test_all_public_names_together_load_no_client_and_no_interface():
    before = set(run(LOADED).split())

    loaded = set(run(f"from chicory import *; {LOADED}").split()) - before

    assert not loaded & (HEAVY - NEEDED)


def test_a_program_that_makes_an_app_loads_only_its_transport():
    before = set(run(LOADED).split())
    code = f"from chicory import Chicory; Chicory('memory://'); {LOADED}"

    loaded = set(run(code).split()) - before

    assert not loaded & (HEAVY - NEEDED - {"email"})  # what lists installed packages parses mail
    assert not any(name.startswith("chicory_") for name in loaded)
