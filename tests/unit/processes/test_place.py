"""Which tasks can run in processes of their own, and how the others are told."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from chicory import Chicory, Worker, WorkerConfig
from chicory.errors import ConfigurationError
from chicory.processes import place


def plain() -> int:
    return 1


async def waits() -> int:
    return 1


@pytest.fixture
def app() -> Chicory:
    return Chicory("memory://")


def module_with(name: str, source: str, monkeypatch) -> ModuleType:
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(f"from chicory import Chicory\napp = Chicory('memory://')\n{source}", vars(module))
    return module


def test_what_runs_a_task_goes_by_its_function(app):
    assert app.task(name="a")(plain).executor == "thread"
    assert app.task(name="b")(waits).executor == "async"
    assert app.task(name="c", executor="thread")(plain).executor == "thread"
    assert app.task(name="d", executor="async")(waits).executor == "async"
    assert app.task(name="e", executor="process")(plain).executor == "process"
    assert app.task(name="f", executor="process")(waits).executor == "process"


@pytest.mark.parametrize(
    ("executor", "function", "reason"),
    [
        ("thread", waits, 'an async def runs on the event loop, or with executor="process"'),
        ("async", plain, "a def would block the event loop: make it async def"),
        ("process", lambda: 1, "a process of its own cannot find .*<lambda>"),
    ],
)
def test_what_cannot_run_a_task_is_refused_when_it_is_registered(app, executor, function, reason):
    with pytest.raises(ConfigurationError, match=f"task 'x', executor='{executor}': {reason}"):
        app.task(name="x", executor=executor)(function)
    assert not app.tasks


def test_a_function_within_another_one_is_refused(app):
    def inner() -> None: ...

    with pytest.raises(ConfigurationError, match=r"cannot find .*<locals>.inner: it imports"):
        app.task(executor="process")(inner)


def test_a_limit_of_memory_is_for_processes(app):
    with pytest.raises(ConfigurationError, match=r'max_memory=5\): only a .*executor="process"'):
        app.task(max_memory=5)


@pytest.mark.parametrize(
    ("option", "accepted"),
    [
        ({"executor": "fiber"}, "one of async, process, thread"),
        ({"max_concurrency": 0}, "a whole number, 1 or more"),
        ({"max_memory": 0, "executor": "process"}, "a whole number, 1 or more"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_accepted(app, option, accepted):
    with pytest.raises(ConfigurationError, match=f"must be {accepted}"):
        app.task(**option)


@pytest.mark.parametrize(
    "source",
    [
        "@app.task(executor='process')\ndef work(): ...",
        "@app.task(executor='process', name='other')\ndef work(): ...",
        "def work(): ...\nbetter = app.task(executor='process', name='better')(work)",
        "class Jobs:\n    @staticmethod\n    @app.task(executor='process')\n    def work(): ...",
    ],
)
def test_a_task_of_the_module_of_its_function_is_found(monkeypatch, source):
    module = module_with("jobs_of_a_test", source, monkeypatch)
    (task,) = module.app.tasks.values()

    place.check(task)
    assert place.find(module, place.home(task)[1], task.name) is task


async def test_a_worker_does_not_start_with_a_task_of_main(monkeypatch):
    module = module_with("__main__", "", monkeypatch)
    exec("@app.task(executor='process', name='a')\ndef work(): ...", vars(module))

    with pytest.raises(ConfigurationError, match="task a: is defined in __main__, which a proc"):
        await Worker(module.app).run()


async def test_a_worker_does_not_start_with_a_task_that_is_elsewhere(app):
    app.task(executor="process", name="a")(plain)

    with pytest.raises(
        ConfigurationError, match=f"look for it in {__name__}, .* register it there"
    ):
        await Worker(app).run()


async def test_a_system_without_such_processes_is_told_of(monkeypatch):
    source = "@app.task(executor='process')\ndef work(): ..."
    module = module_with("jobs_of_a_test", source, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("chicory.processes.place.can_tell", lambda: False)
        with pytest.raises(ConfigurationError, match="does not tell how much memory a process has"):
            await Worker(module.app, WorkerConfig(max_process_memory=100)).run()
        patch.setattr("chicory.processes.place.os.name", "nt")
        with pytest.raises(ConfigurationError, match="this system has no processes that end with"):
            await Worker(module.app).run()
