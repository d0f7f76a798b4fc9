"""Every type that may travel does so through a real worker: as an argument, and back as a result.

One worker for all examples of a transport.
"""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest
from anyio import fail_after
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Meta
from servers.brokers import nats_url, redis_url

from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.testing.memory import forget

__all__ = ["nats_url", "redis_url"]  # fixtures

PATIENCE = 300
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    BIG = 3


class Mode(enum.StrEnum):
    FAST = "fast"


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


@dataclass
class Line:
    product: str
    price: Decimal
    colour: Colour | None = None


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    lines: list[Line] = field(default_factory=list)
    placed: dt.datetime | None = None


class Point(msgspec.Struct, frozen=True):
    x: int
    y: float = 0.0


class Packed(msgspec.Struct, array_like=True):
    key: UUID
    points: tuple[Point, ...]


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Holder(msgspec.Struct, Generic[T]):
    content: T


@attrs.define
class Guest:
    name: str
    born: dt.date


class Choice(TypedDict, total=False):
    speed: Required[int]
    colour: Colour


class Pair(NamedTuple):
    left: int
    right: str


class Model(pydantic.BaseModel):
    x: int
    prices: dict[str, Decimal]


class Money:
    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount, self.currency = amount, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.currency)

    def __repr__(self) -> str:
        return f"Money({self.amount!r}, {self.currency!r})"


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return f"Box({self.content!r})"


Number = NewType("Number", int)

integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False)
decimals = st.decimals(allow_nan=False)
zones = st.timezones() | st.just(dt.UTC) | st.just(dt.timezone(dt.timedelta(hours=5, minutes=45)))
moments = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=zones)  # noqa: DTZ001
finite = st.decimals(allow_nan=False, allow_infinity=False)
prices = st.builds(Money, decimals, st.text())
points = st.builds(Point, integers, floats)
lines = st.builds(Line, st.text(), decimals, st.none() | st.sampled_from(Colour))
plain = st.recursive(
    st.none() | st.booleans() | integers | floats | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, plain),
    (None, st.none()),
    (bool, st.booleans()),
    (int, integers),
    (float, floats),
    (str, st.text()),
    (bytes, st.binary()),
    (bytearray, st.binary().map(bytearray)),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (dt.datetime, moments),
    (dt.datetime, st.datetimes()),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas()),
    (PurePosixPath, st.text("ab./", min_size=1).map(PurePosixPath)),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (ipaddress.IPv6Address, st.ip_addresses(v=6)),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Mode, st.sampled_from(Mode)),
    (Rights, st.sampled_from(list(Rights))),
    (Literal["a", 1] | None, st.sampled_from(["a", 1, None])),
    (Annotated[int, Meta(ge=0, le=9)], st.integers(0, 9)),
    (Annotated[str, Meta(max_length=3)], st.text(max_size=3)),
    (Number, integers),
    (int | None, st.none() | integers),
    (int | str | list[float] | None, st.none() | integers | st.text() | st.lists(floats)),
    (list[int], st.lists(integers)),
    (tuple[int, ...], st.lists(integers).map(tuple)),
    (tuple[int, str, None], st.tuples(integers, st.text(), st.none())),
    (set[str], st.sets(st.text())),
    (frozenset[UUID], st.frozensets(st.uuids())),
    (dict[str, list[int | None]], st.dictionaries(st.text(), st.lists(st.none() | integers))),
    (dict[int, float], st.dictionaries(integers, floats)),
    (dict[UUID, dt.date], st.dictionaries(st.uuids(), st.dates())),
    (dict[Colour, set[Decimal]], st.dictionaries(st.sampled_from(Colour), st.sets(decimals))),
    (Line, lines),
    (Order, st.builds(Order, integers, st.lists(lines), st.none() | moments)),
    (Point, points),
    (Packed, st.builds(Packed, st.uuids(), st.lists(points).map(tuple))),
    (Circle | Square, st.builds(Circle, floats) | st.builds(Square, floats)),
    (Holder[list[Point]], st.builds(Holder, st.lists(points))),
    (Guest, st.builds(Guest, st.text(), st.dates())),
    (Choice, st.fixed_dictionaries({"speed": integers}, optional={"colour": st.just(Colour.RED)})),
    (Pair, st.builds(Pair, integers, st.text())),
    (Model, st.builds(Model, x=integers, prices=st.dictionaries(st.text(), finite))),
    (Money, prices),
    (Money | None, st.none() | prices),
    (dict[str, list[Money]], st.dictionaries(st.text(), st.lists(prices))),
    (Box[Point], st.builds(Box, points)),
    (list[Box[Money]], st.lists(st.builds(Box, prices))),
]
"""Annotations, and values that fit them."""

calls = st.lists(
    st.one_of(st.tuples(st.just(number), values) for number, (_, values) in enumerate(KINDS)),
    min_size=1,
    max_size=30,
)


def register(app: Chicory) -> list[Any]:
    """A task for each annotation, which gives back what it was given if that is what it should."""

    def pair(money: Money) -> tuple[Decimal, str]:
        return money.amount, money.currency

    def from_pair(pair: tuple[Decimal, str]) -> Money:
        return Money(*pair)

    app.register_type(Money, via=tuple[Decimal, str], encode=pair, decode=from_pair)
    app.register_type(Box, via=T, encode=lambda box: box.content, decode=Box)
    return [app.task(name=f"echo {number}")(echo(kind)) for number, (kind, _) in enumerate(KINDS)]


def echo(kind: Any) -> Callable[..., Any]:
    async def echo(value, *, named):
        assert alike(value, named)
        return value, repr(value)

    echo.__annotations__ = {"value": kind, "named": kind, "return": tuple[kind, str]}
    return echo


def alike(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


@asynccontextmanager
async def working(url: str) -> AsyncIterator[tuple[Chicory, list[Any]]]:
    app = Chicory(url, config=ChicoryConfig(namespace=uuid4().hex, lease=600))
    tasks = register(app)
    with fail_after(PATIENCE):
        async with app, Worker(app, WorkerConfig(concurrency=4)):
            yield app, tasks


@pytest.fixture
async def in_memory() -> AsyncIterator[tuple[Chicory, list[Any]]]:
    name = uuid4().hex
    async with working(f"memory://{name}") as found:
        yield found
    forget(name)


@pytest.fixture(params=["sqlite", "redis", "nats"])
async def on_a_broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Chicory, list[Any]]]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'types.db'}"
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    async with working(url) as found:
        yield found


async def travel(app: Chicory, tasks: list[Any], sent: list[tuple[int, Any]]) -> None:
    handles = await app.enqueue_many(
        tasks[number].call(value, named=value) for number, value in sent
    )
    received = await app.gather(handles)
    for (_, value), (result, _) in zip(sent, received, strict=True):
        assert alike(result, value)


FEW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    max_examples=8,
)


@settings(FEW, max_examples=60)
@given(calls)
async def test_every_type_travels_through_a_worker(in_memory, sent):
    await travel(*in_memory, sent)


@FEW
@given(calls)
async def test_every_type_travels_over_every_broker(on_a_broker, sent):
    await travel(*on_a_broker, sent)
