"""What a mistake gets: one line on stderr that names it and the next step, and exit code 2 or 1."""

import pytest

OTHER = {
    "absent_import.py": "import nowhere_to_be_found",
    "broken.py": "\nx = 1 / 0",
    "no_python.py": "def (",
    "script.py": "import sys\nsys.exit('usage: script')",
    "empty.py": "",
    "two.py": "from chicory import Chicory\na = Chicory()\nb = Chicory('memory://')",
    "number.py": "from chicory import Chicory\nnumber = 3\napp = Chicory()",
    "twins.py": """
from chicory import Chicory
app = Chicory()
@app.task(name="one")
def first() -> None: ...
@app.task(name="one")
def second() -> None: ...
""",
    "nulls.py": "a = 1\0",
    "nameless.py": "from chicory import Chicory\napp = Chicory()\napp.task()(lambda: None)",
}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nope", "there is no module 'nope' in "),
        ("nope.deeper:app", "there is no module 'nope' in "),
        ("absent_import", "No module named 'nowhere_to_be_found'"),
        ("broken", "broken.py:2); python -c 'import broken' shows more"),
        ("no_python", "SyntaxError: invalid syntax"),
        ("nulls", "null bytes (nulls); python -c 'import nulls' shows more"),
        ("script", "SystemExit: usage: script ("),
        ("empty", "the module holds none: app = Chicory(...) makes one"),
        ("two", "write two:a or two:b"),
        ("two:c", "two:c is not there; write two:a or two:b"),
        ("number:number", "number:number is no Chicory app, but an int; write number:app"),
        ("tasks.py", "write its module, as in tasks:app"),
        ("./tasks", "write module:name, as in tasks:app"),
        ("", "write module:name, as in tasks:app"),
        ("twins", "two tasks are named 'one': give one of them another name"),
        ("nameless", "a lambda has no name to be found by"),
        ("smoke://signals", "unknown broker scheme 'smoke': known are "),
        ("sqlite:///tasks.py", "tasks.py"),
        ("sqlite:////proc/nowhere/x.db", "/proc/nowhere"),
    ],
)
def test_a_wrong_app_is_one_line(chicory, folder, path, told):
    for name, text in OTHER.items():
        (folder / name).write_text(text)

    said = chicory("queues", path)

    assert said.out == ""
    assert said.err.startswith("chicory: ")
    assert said.err.count("\n") == 1
    assert told in said.err
    assert said.code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("queues", "parameter APP requires an argument"),
        ("dance", 'Unknown command "dance"'),
        (
            "worker tasks --concurrency 0",
            "--concurrency 0: must be a whole number from 1 to 1000000",
        ),
        ("worker tasks --burst --max-tasks 5", "--burst ends a process"),
        ("worker tasks --max-tasks 0", "--max-tasks. Must be >= 1"),
        ("worker tasks -c many", "'many' is no whole number"),
        ("worker tasks -c 1.5", "'1.5' is no whole number"),
        ("worker tasks -w 2.5", "-w: '2.5' is no whole number"),
        ("worker tasks --max-tasks 1e3", "'1e3' is no whole number"),
        ("worker tasks --threads 1.5", "'1.5' is no whole number"),
        ("worker tasks --processes 2.7", "'2.7' is no whole number"),
        ("worker tasks --max-process-memory 1.2", "'1.2' is no whole number"),
        ("worker tasks --health-port 70000", "a whole number from 0 to 65535\n"),
        ("dlq list tasks --count 1.5", "'1.5' is no whole number"),
        ("worker tasks -q high=x", "--queue high=x: write name=weight, the weight a whole number"),
        ("worker tasks -q high=0", "queue high=0: a weight is a whole number, 1 or more"),
        ("queues sqlite:///typo.db", "/typo.db: check the name"),
        ("dlq list sqlite:///typo.db", "/typo.db: check the name"),
        ("queues ta\x1b[2Jsks", r"there is no module 'ta\x1b[2Jsks'"),
        ("result sqlite:///ty\x9bpo.db id", r"/ty\x9bpo.db: check the name"),
        ("worker tasks --heartbeat-ttl 5", "must be more than heartbeat_interval (10 s,"),
        (
            "worker tasks --shutdown-timeout -1",
            "--shutdown-timeout -1.0: must be a number, 0 or more",
        ),
        ("worker tasks --log-level loud", "choose from DEBUG, INFO"),
        ("worker tasks --loop fruit", '"asyncio", "uvloop", "trio"'),
        ("worker sqlite:///x.db", "write module:name"),
        ("call tasks tasks.add", "tasks.add: argument 'a' is missing"),
        ("call tasks tasks.add x", "tasks.add: argument 'a': Expected `int`, got `str`"),
        ("call tasks tasks.add 1 2 3", "takes 2 positional arguments, got 3"),
        ("call tasks tasks.add 1 b=1 b=2", "argument 'b' is given twice"),
        ("call tasks tasks.add 1 --delay=5", "--delay: no option of chicory call, see --help"),
        ("call tasks tasks.add 1 --dealy 5", "text for a parameter is written NAME=--dealy"),
        ("call tasks tasks.mirror {}", "tasks.mirror: argument 'point'"),
        ("call tasks add 1", "no task is named 'add': known are tasks.add"),
        ("call tasks tasks.add 1 --timeout -1", "--timeout"),
        ("cleanup tasks --stale-seconds -1", "--stale-seconds"),
        ("dlq show tasks nope", "no dead letter 'nope'"),
        ("dlq replay tasks", "their identities, or --all"),
        ("dlq replay tasks nope --all", "their identities, or --all"),
        ("dlq replay tasks nope", "no dead letter 'nope'"),
        ("dlq delete tasks", "which dead letters? their identities"),
        ("dlq purge tasks", "--queue NAME, or --all"),
    ],
)
def test_a_wrong_word_is_one_line(chicory, folder, words, told):
    said = chicory(*words.split())

    assert said.out == ""
    assert said.err.startswith("chicory: ")
    assert said.err.count("\n") == 1
    assert told in said.err
    assert said.code == 2
    assert not {path.name for path in folder.glob("*.db")} - {"chicory.db"}


@pytest.mark.parametrize("kind", ["BROKER", "BACKEND"])
@pytest.mark.parametrize(
    "words",
    [
        "worker inside",
        "call inside inside.add 1",
        "queues inside",
        "workers inside",
    ],
)
def test_what_is_within_one_process_is_refused(chicory, folder, monkeypatch, words, kind):
    monkeypatch.setenv(f"CHICORY_{kind}_URL", "memory://")
    (folder / "inside.py").write_text(
        "from chicory import Chicory\napp = Chicory()\n@app.task()\ndef add(a: int) -> None: ..."
    )

    said = chicory(*words.split())

    assert said.err.startswith("chicory: memory:// is within one process")
    assert f"choose another {kind.lower()}, " in said.err
    assert said.err.count("\n") == 1
    assert said.code == 2


def test_a_broker_named_to_a_command_may_not_be_within_one_process_either(chicory):
    assert chicory("queues", "memory://").err.startswith("chicory: memory:// is within one process")


def test_a_worker_without_tasks_is_refused(chicory, folder):
    (folder / "bare.py").write_text("from chicory import Chicory\napp = Chicory()")

    said = chicory("worker", "bare")

    assert said.err == "chicory: bare has no tasks: @app.task() registers one\n"
    assert said.code == 2


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CHICORY_WORKER_CONCURRENCY", "zero", "must be a whole number from 1 to 1000000"),
        ("CHICORY_WORKER_LOG_LEVEL", "loud", "must be one of CRITICAL, DEBUG"),
        ("CHICORY_LEASE", "-1", "must be a number from 0.01 to 86400"),
        ("CHICORY_LEASE", "inf", "must be a number from 0.01 to 86400"),
        ("CHICORY_BROKER_REDIS_PORT", "99999", "must be a whole number from 1 to 65535"),
    ],
)
def test_a_wrong_variable_is_named(chicory, monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)

    said = chicory("queues", "tasks")

    assert said.err.startswith(f"chicory: {variable}={value!r}: ")
    assert told in said.err
    assert said.err.count("\n") == 1
    assert said.code == 2


def test_a_result_that_does_not_come_is_a_failure(chicory):
    said = chicory("call", "tasks", "tasks.add", "1", "--timeout", "0")

    assert said.err.startswith("chicory: no result of task ")
    assert said.code == 1
