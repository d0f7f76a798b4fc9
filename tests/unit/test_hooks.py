"""Types of the users' own: how they travel, and what is said where they cannot."""

import abc
import datetime as dt
import enum
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest

from chicory import Chicory, TaskMessage, TaskResult, TaskState, ValidationMode
from chicory.errors import ConfigurationError, TaskError, ValidationError
from chicory.testing import Lab, Rehearsal

T = TypeVar("T")


class Money:
    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount, self.currency = amount, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))

    def __repr__(self) -> str:
        return f"{self.amount} {self.currency}"

    @classmethod
    def parse(cls, text: str) -> "Money":
        amount, _, currency = text.partition(" ")
        if not currency:
            raise ValueError("no currency")
        return cls(Decimal(amount), currency)


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


class Shape(abc.ABC):
    @abc.abstractmethod
    def spec(self) -> str: ...


class Dot(Shape):
    def spec(self) -> str:
        return "dot"


class Line(Shape):
    def spec(self) -> str:
        return "line"


class Bag(list): ...


class Key(UUID): ...


class Email(str):
    __slots__ = ()


@dataclass
class Priced:
    name: str
    prices: list[Money]


class Pair(NamedTuple):
    left: int
    right: int


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    x: int


EURO, CENT = Money(Decimal("12.50"), "EUR"), Money(Decimal("0.01"), "EUR")


@pytest.fixture
def lab(app):
    app.register_type(Money, encode=str, decode=Money.parse)
    with Lab(app) as lab:
        yield lab


def echo(app: Chicory, kind: Any, **options: Any):
    """A task that returns what it is given, and says what that was."""

    def run(value):
        seen.append(value)
        return value

    seen: list[Any] = []
    run.__annotations__ = {"value": kind, "return": kind}
    task = app.task(name=f"echo{len(app.tasks)}", **options)(run)
    return task, seen


async def there_and_back(lab: Lab, kind: Any, value: Any) -> Any:
    """The value in the task, and as the result."""
    task, seen = echo(lab.app, kind)
    handle = await task.delay(value)
    await lab.drain()
    return seen[0], await handle.get(timeout=5)


# -- they travel --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Money, EURO),
        (Money | None, EURO),
        (Money | None, None),
        (list[Money], [EURO, CENT]),
        (tuple[Money, ...], (EURO, CENT)),
        (set[Money], {EURO, CENT}),
        (dict[str, Money], {"a": EURO}),
        (dict[Money, int], {EURO: 1}),
        (dict[str, list[Money | None]], {"a": [None, EURO]}),
        (Priced, Priced("x", [EURO])),
    ],
)
async def test_an_own_type_travels_as_argument_and_as_result(lab, kind, value):
    assert await there_and_back(lab, kind, value) == (value, value)


async def test_without_an_annotation_it_arrives_as_what_it_travelled_as(lab):
    assert await there_and_back(lab, Any, EURO) == ("12.50 EUR", "12.50 EUR")


@pytest.mark.parametrize(
    ("via", "value"),
    [
        (tuple[Decimal, str], (Decimal("1.5"), "EUR")),
        (dict[str, dt.date], {"a": dt.date(2027, 1, 1)}),
        (list[Money], [EURO]),
        (Priced, Priced("x", [EURO])),
        (set[UUID], {UUID(int=1)}),
        (dt.timedelta, dt.timedelta(days=1)),
        (bytes, b"\xff"),
        (int | None, None),
    ],
)
async def test_what_travels_in_its_place_is_of_the_type_that_was_named(lab, via, value):
    class Own:
        def __init__(self, inner):
            self.inner = inner

    lab.app.register_type(Own, via=via, encode=lambda own: own.inner, decode=Own)

    seen, result = await there_and_back(lab, list[Own], [Own(value)])

    assert seen[0].inner == result[0].inner == value


def unpack(content: list[T]) -> Box[T]:
    return Box(*content)


async def test_the_parameters_of_a_generic_are_those_of_what_travels(lab):
    lab.app.register_type(Box, via=list[T], encode=lambda box: [box.content], decode=unpack)

    for kind, value in ((Money, EURO), (Decimal, Decimal("1.5")), (Box[Money], Box(EURO))):
        seen, _ = await there_and_back(lab, Box[kind], Box(value))
        assert type(seen.content) is type(value)
    seen, _ = await there_and_back(lab, Box, Box(EURO))
    assert seen.content == "12.50 EUR"


async def test_a_generic_may_travel_as_its_parameter(lab):
    lab.app.register_type(Box, via=T, encode=lambda box: box.content, decode=Box)

    seen, _ = await there_and_back(lab, Box[Money], Box(EURO))

    assert seen.content == EURO


async def test_a_subclass_travels_as_the_nearest_class_that_is_registered(lab):
    def make(spec: str) -> Shape:
        return {"dot": Dot, "line": Line}[spec]()

    lab.app.register_type(Shape, encode=lambda shape: shape.spec(), decode=make)

    seen, result = await there_and_back(lab, list[Shape], [Dot(), Line()])
    assert [*map(type, seen), *map(type, result)] == [Dot, Line, Dot, Line]

    lab.app.register_type(Line, encode=lambda _: 1, decode=lambda _: Line())
    task, _ = echo(lab.app, Dot)
    assert type((await there_and_back(lab, Line, Line()))[0]) is Line
    with pytest.raises(ValidationError, match=r"argument 'value': Expected `Dot`, got `Line`"):
        await task.delay("line")


async def test_a_subclass_of_text_travels_as_text_and_arrives_as_itself(lab):
    lab.app.register_type(Email, via=str, encode=str.lower, decode=Email)

    seen, result = await there_and_back(lab, list[Email], [Email("B@c")])

    assert (seen, result) == (["b@c"], ["b@c"])
    assert type(seen[0]) is type(result[0]) is Email


async def test_a_model_may_have_hooks_of_its_own(lab):
    lab.app.register_type(Model, via=int, encode=lambda model: model.x, decode=lambda x: Model(x=x))

    assert await there_and_back(lab, Any, Model(x=3)) == (3, 3)
    assert await there_and_back(lab, Model, Model(x=3)) == (Model(x=3), Model(x=3))


# -- when and where -----------------------------------------------------------------------


async def test_a_type_may_be_registered_after_the_task_that_takes_it(app):
    task, seen = echo(app, Money)
    with Lab(app) as lab:
        with pytest.raises(ValidationError, match="cannot be sent"):
            await task.delay(EURO)

        app.register_type(Money, encode=str, decode=Money.parse)
        await task.delay(EURO)
        await lab.drain()

    assert seen == [EURO]


async def test_hooks_are_their_app_s_alone(app):
    app.register_type(Money, encode=str, decode=Money.parse)
    task, _ = echo(Chicory("memory://other"), Money)

    with pytest.raises(ValidationError, match="cannot be sent"):
        await task.delay(EURO)


async def test_bulk_calls_and_calls_by_hand_go_by_the_hooks(lab):
    task, seen = echo(lab.app, Money)

    await lab.app.enqueue_many([task.call(EURO), task.options(queue="b").call(value=CENT)])
    await lab.app.broker.publish(TaskMessage(id="a", name=task.name, args=[EURO]))
    await lab.drain()
    assert sorted(map(str, seen)) == ["0.01 EUR", "12.50 EUR", "12.50 EUR"]

    done = TaskResult(task_id="b", name=task.name, state=TaskState.SUCCESS, result=[EURO])
    await lab.app.backend.store_result("b", done)
    assert (await lab.app.backend.get_result("b")).result == ["12.50 EUR"]


def test_calls_without_an_event_loop_go_by_the_hooks(lab):
    task, seen = echo(lab.app, Money)

    handle = task.delay_sync(EURO)
    lab.app.enqueue_many_sync([task.call(CENT)])
    lab.drain_sync()

    assert seen == [EURO, CENT]
    assert handle.get_sync(timeout=5) == EURO
    assert lab.app.result(handle.task_id).get_sync(timeout=5) == EURO


async def test_the_testing_kit_goes_by_the_hooks(lab):
    task, _ = echo(lab.app, Money)

    await task.delay(EURO)

    assert lab.assert_enqueued(task, EURO).arguments == {"value": EURO}
    assert await Rehearsal(task).run(CENT) == CENT


# -- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no luck"), "Money: no luck"),
        (KeyError("EUR"), "Money: KeyError: 'EUR'"),
        (ValueError(), "Money: ValueError: "),
        (ArithmeticError("x"), "Money: ArithmeticError: x"),
    ],
)
async def test_what_a_hook_raises_names_the_task_the_parameter_and_the_type(app, error, text):
    def fail(_):
        raise error

    def run(left, value: list[Money]) -> None: ...

    app.register_type(Money, encode=fail, decode=fail)
    task = app.task(name="run")(run)

    with pytest.raises(ValidationError) as caught:
        await task.delay(1, value=[EURO])
    assert str(caught.value) == f"run: argument 'value': {text}"
    with pytest.raises(ValidationError) as caught:
        await task.delay(1, ["1 EUR"])
    assert str(caught.value) == f"run: argument 'value[0]': {text}"
    assert await app.broker.get_queue_size() == 0


async def test_an_error_of_a_hook_in_the_worker_is_a_dead_letter_that_names_it(lab):
    task, seen = echo(lab.app, Money, validation_mode=ValidationMode.NONE)
    handle = await task.delay("12.50")
    await lab.drain()

    with pytest.raises(TaskError, match="argument 'value': Money: no currency"):
        await handle.get(timeout=5)
    (letter,) = await lab.app.broker.get_dlq_messages()
    assert (letter.reason, seen) == ("invalid-arguments", [])


async def test_a_result_whose_hook_fails_is_a_dead_letter_that_names_task_and_type(app):
    def fail(_):
        raise KeyError("EUR")

    app.register_type(Money, encode=fail, decode=Money.parse)

    @app.task(name="t")
    async def run() -> Money:
        return EURO

    with Lab(app) as lab:
        handle = await run.delay()
        await lab.drain()
        with pytest.raises(TaskError, match="t: return value: Money: KeyError: 'EUR'"):
            await handle.get(timeout=5)
        (letter,) = await app.broker.get_dlq_messages()
        assert letter.reason == "unusable-result"


async def test_a_stored_value_that_the_hook_does_not_take_is_an_error_of_get(lab):
    task, _ = echo(lab.app, Money)
    done = TaskResult(task_id="b", name=task.name, state=TaskState.SUCCESS, result="12")
    await lab.app.backend.store_result("b", done)

    with pytest.raises(ValidationError, match=r"echo0: return value: Money: no currency"):
        await lab.app.result("b").get(timeout=5)


async def test_what_does_not_fit_the_type_named_never_reaches_the_hook(app):
    app.register_type(Money, via=str, encode=str, decode=pytest.fail)
    task, _ = echo(app, Money)

    with pytest.raises(ValidationError, match="'value': Money: Expected `str`, got `int`"):
        await task.delay(5)


async def test_a_hook_that_gives_the_same_type_is_an_error_not_the_end_of_the_stack(app):
    app.register_type(Money, encode=lambda money: money, decode=Money.parse)
    task, _ = echo(app, Money)

    with pytest.raises(ValidationError, match="'value': Money: encode gives no other type"):
        await task.delay(EURO)


async def test_a_type_without_hooks_is_told_how_to_get_them(app):
    task, _ = echo(app, Money)

    for value, verb in ((EURO, "sent"), ("12 EUR", "received")):
        with pytest.raises(ValidationError) as caught:
            await task.delay(value)
        way = "app.register_type(Money, encode=..., decode=...)"
        assert f"Money cannot be {verb} without {way}" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        (Money, {}, r"app\.register_type\(Money\): it is registered already"),
        (Money | None, {}, r"must be a class of its own"),
        ("Money", {}, r"'Money'\): must be a class"),
        (object, {}, r"must be a class of its own"),
        (Dot, {"encode": None}, r"register_type\(Dot\): encode=None must be a function"),
        (Dot, {"decode": "x"}, r"decode='x' must be a function"),
        (Dot, {"via": Dot}, r"via must be another type"),
        (Dot, {"via": Money | int}, r"via=.*unions"),
        *(
            (kind, {}, rf"register_type\({kind.__name__}\): it travels without hooks")
            for kind in (int, str, dict, UUID, Decimal, Priced, Pair, Colour, Bag, Key, type(None))
        ),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(lab, kind, changes, text):
    given = {"encode": str, "decode": Dot} | changes

    with pytest.raises(ConfigurationError, match=text):
        lab.app.register_type(kind, **given)


def test_a_class_with_annotations_that_cannot_be_resolved_is_no_class_with_hooks(app):
    @dataclass
    class Lost:
        x: "Nowhere"  # noqa: F821

    with pytest.raises(ConfigurationError, match="travels without hooks"):
        app.register_type(Lost, encode=str, decode=Lost)


def test_plain_calls_never_ask_for_a_hook(app, monkeypatch):
    app.register_type(Money, encode=str, decode=Money.parse)
    monkeypatch.setattr(app.codec.hooks, "of", lambda _: pytest.fail("asked"))
    task, _ = echo(app, list[int])

    packed = task.signature.encode(([1, 2],), {}, check=True)

    assert task.signature.decode(*packed)[0] == ([1, 2],)


def test_hooks_cost_no_import():
    code = "import sys, chicory; assert 'msgspec.inspect' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_struct_that_holds_one_travels(app):
    class Order(msgspec.Struct):
        price: Money

    app.register_type(Money, encode=str, decode=Money.parse)
    task, _ = echo(app, Order)

    packed = task.signature.encode((Order(EURO),), {}, check=True)

    assert task.signature.decode(*packed)[0][0].price == EURO
