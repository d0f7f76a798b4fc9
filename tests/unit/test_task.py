import functools
import subprocess
import sys
import textwrap

import pytest
from named import by_text

from chicory import Chicory, RetryPolicy, TaskContext
from chicory import message as messages
from chicory.errors import (
    ConfigurationError,
    MessageTooLargeError,
    TaskNotFoundError,
    ValidationError,
)
from chicory.record import TaskResult
from chicory.states import TaskState, ValidationMode
from chicory.transport import Priority


async def published(app, queue="default"):
    transport = (await app.broker_link.session()).transport
    return await transport.fetch([queue], 100, 0)


async def add(a: int, b: int = 2) -> int:
    return a + b


def double(a: int) -> int:
    return 2 * a


# -- names --------------------------------------------------------------------------------


def test_a_task_is_named_after_its_module_and_function(app):
    assert app.task()(add).name == f"{__name__}.add"
    assert list(app.tasks) == [f"{__name__}.add"]


def test_a_task_may_have_a_name_of_its_own(app):
    task = app.task(name="sum")(add)

    assert task.name == "sum"
    assert app.get_task("sum") is task
    assert repr(task) == "<Task sum>"


def test_two_tasks_of_one_name_are_refused(app):
    app.task(name="t")(add)

    with pytest.raises(ConfigurationError, match=r"two tasks are named 't'"):
        app.task(name="t")(double)
    assert app.get_task("t").function is add


def test_an_unknown_task_lists_the_known_ones(app):
    with pytest.raises(TaskNotFoundError, match=r"'x': known are none"):
        app.get_task("x")
    app.task(name="b")(add)
    app.task(name="a")(double)

    with pytest.raises(TaskNotFoundError, match=r"'x': known are a, b"):
        app.get_task("x")


def test_the_tasks_cannot_be_changed_from_outside(app):
    with pytest.raises(TypeError):
        app.tasks["x"] = None


class Callable:
    def __call__(self): ...


class Holder:
    def double(self, a: int) -> int:
        return 2 * a


def test_what_has_no_name_needs_one(app):
    with pytest.raises(ConfigurationError, match=r"^a lambda has no name to be found by"):
        app.task()(lambda: 1)

    assert app.task(name="t")(lambda: 1).name == "t"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (functools.partial(double, 1), "a partial object is no function: write a def that calls"),
        (
            functools.wraps(double)(functools.partial(double, 1)),
            "a partial object is no function: write a def that calls it",
        ),
        (Callable(), "a Callable object is no function: write a def that calls it"),
        (int, "the class int is no function: write a def that calls it"),
        (None, "None is no function: write a def, or an async def"),
        ("jobs.add", "'jobs.add' is no function: write a def, or an async def"),
        (classmethod(double), "<classmethod.* is no function: write a def, or an async def"),
    ],
    ids=by_text,
)
def test_what_is_no_function_is_no_task(app, given, told):
    for options, shown in (({}, ""), ({"name": "t"}, "task 't': ")):
        with pytest.raises(ConfigurationError, match=f"^{shown}{told}"):
            app.task(**options)(given)
    assert not app.tasks


def test_a_call_is_no_function(app):
    call = add(1)
    with pytest.raises(ConfigurationError, match=r"^task 't': <coroutine .* is no function: write"):
        app.task(name="t")(call)
    call.close()


def test_what_wraps_a_function_and_looks_like_it_is_one(app):
    cached = app.task()(functools.cache(double))

    assert (cached.name, cached(2)) == (f"{__name__}.double", 4)
    assert app.task(name="t")(Holder().double)(3) == 6


def test_a_function_that_does_not_tell_its_parameters_is_told_of(app):
    with pytest.raises(ConfigurationError, match=r"^task t: no signature found .*: write a def"):
        app.task(name="t")(max).signature  # noqa: B018


@pytest.mark.parametrize("module", ["__main__", "__mp_main__"])
def test_a_function_of_main_needs_a_name(app, module, monkeypatch):
    monkeypatch.setattr(double, "__module__", module)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)

    with pytest.raises(ConfigurationError, match=r"'double' is defined in __main__, .*task\(name="):
        app.task()(double)
    assert app.task(name="t")(double).name == "t"


MAIN = """
    from chicory import Chicory
    from chicory.errors import ConfigurationError
    app = Chicory("memory://")
    def work(): ...
    try:
        print(app.task()(work).name)
    except ConfigurationError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        (["-m", "pkg.jobs"], "pkg.jobs.work"),
        (["-m", "jobs"], "jobs.work"),
        (["jobs.py"], "task 'work' is defined in __main__, which no worker can import"),
        (["-m", "pkg"], "task 'work' is defined in __main__, which no worker can import"),
    ],
)
def test_a_module_that_python_runs_by_its_name_keeps_it(tmp_path, command, printed):
    (tmp_path / "pkg").mkdir()
    for name in ("jobs.py", "pkg/jobs.py", "pkg/__init__.py", "pkg/__main__.py"):
        (tmp_path / name).write_text("" if "init" in name else textwrap.dedent(MAIN))

    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith(printed)


def test_the_decorator_needs_its_parentheses(app):
    with pytest.raises(ConfigurationError, match=r"write @app\.task\(\), with parentheses"):
        app.task(add)


def test_a_generator_is_no_task(app):
    def counts():
        yield 1

    async def streams():
        yield 1

    for function in (counts, streams):
        with pytest.raises(ConfigurationError, match=r"is a generator"):
            app.task()(function)


async def test_one_function_may_be_several_tasks_and_of_several_apps(app, clock):
    other = Chicory("memory://", clock=clock)

    first = app.task(name="first")(add)
    second = app.task(name="second")(first)
    third = other.task()(first)

    assert await second(1) == await third(1) == 3
    assert second.is_async
    assert third.name == f"{__name__}.add"
    assert app.get_task("first") is first


def test_a_task_looks_like_its_function_whatever_that_has(app):
    def function():
        """Does it."""

    function.name = "odd"
    function.options = function._signature = function.function = None

    task = app.task(name="t")(function)

    assert (task.__name__, task.__doc__, task.name) == ("function", "Does it.", "t")
    assert task.function is function
    assert task.signature.encode((), {}, check=True)


# -- called in place ----------------------------------------------------------------------


async def test_a_direct_call_runs_in_place(app):
    assert await app.task()(add)(1, b=5) == 6
    assert app.task()(double)(4) == 8
    assert await published(app) == []


async def test_a_direct_call_gets_a_context_made_up_or_its_own(app):
    @app.task(name="sync", retry_policy=RetryPolicy(max_retries=7))
    def sync(ctx: TaskContext, a: int) -> tuple[str, int, int]:
        return ctx.task_name, ctx.max_retries, a

    @app.task(name="late")
    async def late(a: int, *, ctx: TaskContext) -> tuple[str, int]:
        return ctx.task_name, a

    own = TaskContext("id", "own")

    assert sync(1) == sync(a=1) == ("sync", 7, 1)
    assert sync.run(own, 1) == ("own", 0, 1)
    assert await late(2) == ("late", 2)
    assert await late.run(2, ctx=own) == ("own", 2)


def test_a_direct_call_raises_what_the_function_raises(app):
    @app.task(name="t")
    def fail(a: int):
        raise KeyError(a)

    with pytest.raises(KeyError):
        fail(1)
    with pytest.raises(TypeError):
        fail()


# -- sent ---------------------------------------------------------------------------------


async def test_a_call_is_published_as_its_task_says(app, clock):
    task = app.task(name="t", queue="mail", priority=Priority.HIGH, expires=60)(add)

    task_id = await task.send(1, b=2)

    (delivery,) = await published(app, "mail")
    message = messages.decode_whole(delivery.body)
    assert (delivery.task_id, delivery.priority) == (task_id, Priority.HIGH)
    assert (message.id, message.name, message.args, message.kwargs) == (task_id, "t", [1], {"b": 2})
    assert (message.enqueued_at, message.expires_at) == (clock.now(), clock.now() + 60)
    assert message.priority == 2


async def test_each_call_is_one_of_its_own(app):
    task = app.task()(add)

    ids = {await task.send(1), (await task.delay(1)).task_id}

    assert {delivery.task_id for delivery in await published(app)} == ids
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        (("1",), {}, r"argument 'a': Expected `int`, got `str`"),
        ((), {}, r"argument 'a' is missing"),
        ((1, 2, 3), {}, r"takes 2 positional arguments, got 3"),
        ((1,), {"z": 1}, r"unexpected argument 'z'"),
        ((object(),), {}, r"argument 'a': builtins\.object cannot be sent"),
        ((TaskContext("a", "b"), 1), {}, r"TaskContext is given by the worker"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_published(app, args, kwargs, reason):
    task = app.task(name="t")(add)

    for call in (task.send, task.delay):
        with pytest.raises(ValidationError, match=rf"^t: {reason}"):
            await call(*args, **kwargs)

    assert await published(app) == []


@pytest.mark.parametrize("mode", [ValidationMode.NONE, ValidationMode.OUTPUTS])
async def test_wrong_arguments_are_published_where_that_was_asked_for(app, mode):
    await app.task(name="t", validation_mode=mode)(add).send("x")

    assert len(await published(app)) == 1


async def test_arguments_beyond_the_limit_are_refused(app):
    @app.task(name="t")
    def take(text: str): ...

    with pytest.raises(
        MessageTooLargeError, match=r"'t' has 1,\d{3},\d{3} bytes, the limit is 1,048"
    ):
        await take.delay("x" * (1 << 20))

    assert await published(app) == []


async def test_an_annotation_that_cannot_travel_is_a_configuration_error(app):
    @app.task(name="t")
    def take(value: "Missing"): ...  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"task t: its annotations cannot be resolved"):
        await take.delay(1)


async def test_a_handle_is_made_of_an_id(app):
    task = app.task(name="t")(add)
    await app.backend.store_result("a", TaskResult(task_id="a", state=TaskState.SUCCESS, result=3))

    assert await task.result("a").get(timeout=10) == 3
