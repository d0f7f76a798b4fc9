import datetime as dt
import enum
import importlib.util
import inspect
import ipaddress
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Never,
    NoReturn,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from msgspec import Meta, Raw
from named import by_repr

from chicory import TaskContext
from chicory.errors import ConfigurationError, ValidationError
from chicory.signature import Signature

CTX = TaskContext("id", "t")


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    x: int


@dataclass
class Order:
    number: int
    lines: list[Point] = field(default_factory=list)


@attrs.define
class Guest:
    name: str
    age: int = 1


class Options(TypedDict, total=False):
    speed: Required[int]
    colour: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Model(pydantic.BaseModel):
    x: int


class Aliased(pydantic.BaseModel):
    user_id: int = pydantic.Field(alias="userId")
    other: int = pydantic.Field(0, validation_alias="in", serialization_alias="out")


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    x: int

    @pydantic.computed_field
    @property
    def double(self) -> int:
        return 2 * self.x


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    price: Decimal
    key: UUID
    day: dt.date
    moment: dt.datetime
    pair: tuple[int, str]
    colour: Colour


class Links(pydantic.BaseModel):
    url: pydantic.HttpUrl
    path: pathlib.Path
    address: ipaddress.IPv4Address
    raw: pydantic.Json[list[int]]


class Nested(pydantic.BaseModel):
    models: list[Aliased]
    by_name: dict[str, Model]


class Tree(pydantic.RootModel[dict[str, int]]):
    pass


@dataclass
class Holder:
    model: Model
    models: list[Model]
    maybe: Model | None = None


UTC_NOON = dt.datetime(2027, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
T = TypeVar("T")


def accepts(kind: Any, returns: Any = Any) -> Signature:
    def function(value): ...

    function.__annotations__ = {"value": kind, "return": returns}
    return Signature("t", function)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, -(2**63)),
        (int, 2**64 - 1),
        (float, 1.5),
        (bool, True),
        (str, "ü\0😀"),
        (bytes, b"\0\xff"),
        (bytearray, bytearray(b"x")),
        (type(None), None),
        (Any, [1, {"a": None}]),
        (object, {"a": [1]}),
        (list[object], [1, "a"]),
        (dict[str, object], {"a": 1}),
        (list[int], [1, 2]),
        (tuple[int, ...], (1, 2)),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"a"})),
        (dict[str, int], {"a": 1}),
        (dict[int, str], {1: "a"}),
        (Sequence[int], [1]),
        (Mapping[str, int], {"a": 1}),
        (dt.datetime, UTC_NOON),
        (dt.datetime, UTC_NOON.replace(tzinfo=None)),
        (dt.date, dt.date(2027, 1, 1)),
        (dt.time, dt.time(12, 30, 1, 5)),
        (dt.timedelta, dt.timedelta(days=-1, microseconds=3)),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=7)),
        (pathlib.Path, pathlib.Path("/a/b")),
        (ipaddress.IPv6Address, ipaddress.IPv6Address("::1")),
        (Colour, Colour.RED),
        (Size, Size.BIG),
        (Point, Point(1, 2)),
        (Circle | Square, Square(2.0)),
        (Order, Order(1, [Point(1)])),
        (Guest, Guest("a", 2)),
        (Options, {"speed": 1}),
        (Pair, Pair(1)),
        (Optional[int], None),  # noqa: UP045
        (Optional[Point], Point(1)),  # noqa: UP045
        (Union[int, str], "a"),  # noqa: UP007
        (int | str | None, 3),
        (Literal["a", 1], 1),
        (Annotated[int, Meta(ge=0, lt=5)], 4),
        (Annotated[str, Meta(max_length=2, pattern="^a")], "ab"),
        (list[Annotated[int, Meta(gt=0)]], [1]),
        (T, 1),
        (Model, Model(x=1)),
        (Model | None, Model(x=1)),
        (Model | None, None),
        (list[Model], [Model(x=1), Model(x=2)]),
        (dict[str, Model], {"a": Model(x=1)}),
        (tuple[Model, int], (Model(x=1), 2)),
        (Holder, Holder(Model(x=1), [Model(x=2)], Model(x=3))),
        (Aliased, Aliased.model_validate({"userId": 1, "in": 2})),
        (Nested, Nested(models=[Aliased(userId=1)], by_name={"a": Model(x=1)})),
        (Computed, Computed(x=2)),
        (Tree, Tree({"a": 1})),
        (
            StrictModel,
            StrictModel(
                price=Decimal("1.5"),
                key=UUID(int=7),
                day=dt.date(2027, 1, 1),
                moment=dt.datetime(2027, 1, 1),  # noqa: DTZ001
                pair=(1, "a"),
                colour=Colour.RED,
            ),
        ),
        (
            Links,
            Links.model_validate(
                {"url": "https://a.b/c", "path": "/x", "address": "127.0.0.1", "raw": "[1]"}
            ),
        ),
    ],
    ids=by_repr,
)
def test_a_value_arrives_as_what_it_was(kind, value):
    signature = accepts(kind, returns=kind)

    by_position = signature.decode(*signature.encode((value,), {}, check=True))
    by_name = signature.decode(*signature.encode((), {"value": value}, check=True))
    returned = signature.decode_result(signature.encode_result(value, check=True))

    assert by_position == ((value,), {})
    assert by_name == ((), {"value": value})
    assert returned == value
    assert type(by_position[0][0]) is type(by_name[1]["value"]) is type(returned) is type(value)


def test_a_moment_of_another_zone_is_the_same_moment():
    moment = UTC_NOON.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    signature = accepts(dt.datetime)

    (value,), _ = signature.decode(*signature.encode((moment,), {}, check=True))

    assert value == moment


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (int, "2", r"'value': Expected `int`, got `str`"),
        (int, True, r"'value': Expected `int`, got `bool`"),
        (int, 2**64, r"'value': can't serialize ints"),
        (float, "1.5", r"'value': Expected `float`, got `str`"),
        (str, b"x", r"'value': Expected `str`, got `bytes`"),
        (str, "\ud800", r"'value': .*surrogates not allowed"),
        (int, None, r"'value': Expected `int`, got `null`|'value': Expected `int`, got `None`"),
        (list[int], [1, "a"], r"'value\[1\]': Expected `int`, got `str`"),
        (dict[str, int], {"a": "b"}, r"'value\[\.\.\.\]': Expected `int`, got `str`"),
        (dict[int, int], {"a": 1}, r"'value': key: Expected `int`, got `str`"),
        (tuple[int, str], (1,), r"'value': Expected `array` of length 2, got 1"),
        (Literal["a"], "b", r"'value': Invalid enum value 'b'"),
        (Colour, "green", r"'value': Invalid enum value 'green'"),
        (Annotated[int, Meta(ge=5)], 4, r"'value': Expected `int` >= 5"),
        (Order, {"lines": []}, r"'value': Object missing required field `number`"),
        (Order, {"number": 1, "lines": [{"x": "a"}]}, r"'value\.lines\[0\]\.x': Expected `int`"),
        (Strict, {"x": 1, "zz": 2}, r"'value': Object contains unknown field `zz`"),
        (Options, {}, r"'value': Object missing required field `speed`"),
        (Model, {"x": "abc"}, r"'value': x: Input should be a valid integer[^\n]*$"),
        (Nested, {"models": [{}], "by_name": {}}, r"'value': models\.0\.userId: Field required$"),
        (list[Model], [Model(x=1), {}], r"'value\[1\]': x: Field required$"),
        (pathlib.Path, 5, r"'value': pathlib\S*Path cannot be received"),
        (Any, object(), r"'value': builtins\.object cannot be sent"),
        (Any, lambda: 1, r"'value': builtins\.function cannot be sent"),
        (Any, (i for i in ()), r"'value': builtins\.generator cannot be sent"),
        (Any, {"a": [1j]}, r"'value': builtins\.complex cannot be sent"),
        (Any, pydantic.SecretStr("hidden"), r"'value': pydantic\.types\.SecretStr cannot be sent"),
        (Callable[[], int], 5, r"'value': .*Callable.* cannot be received"),
        (Iterable[int], [1], r"'value': .*Iterable.* cannot be received"),
    ],
    ids=by_repr,
)
@pytest.mark.parametrize("how", ["by position", "by name"])
def test_what_does_not_fit_is_refused_with_parameter_and_reason(kind, value, reason, how):
    signature = accepts(kind)
    args, kwargs = ((value,), {}) if how == "by position" else ((), {"value": value})

    with pytest.raises(ValidationError, match=rf"^t: argument {reason}"):
        signature.encode(args, kwargs, check=True)


def test_a_value_of_a_model_is_not_in_the_error_for_it_may_be_secret():
    with pytest.raises(ValidationError) as caught:
        accepts(Model).encode(({"x": "my-password"},), {}, check=True)

    assert "my-password" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_contains_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(ValidationError, match=r"t: argument 'value': .*recursion"):
        accepts(Any).encode((loop,), {}, check=True)


def test_an_argument_that_is_deep_enough_only_with_the_others_is_refused_too():
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 100):
        deep = [deep]

    with pytest.raises(ValidationError, match=r"t: argument"):
        accepts(Any).encode((deep,), {}, check=True)


def test_a_keyword_that_is_no_text_is_refused():
    def function(**kwargs): ...

    with pytest.raises(ValidationError, match=r"t: arguments: .*surrogates"):
        Signature("t", function).encode((), {"\ud800": 1}, check=True)


@dataclass
class Moody:
    mood: str

    def __post_init__(self):
        raise {"key": KeyError("gone"), "value": ValueError("bad mood")}[self.mood]


class MoodyModel(pydantic.BaseModel):
    x: int

    @pydantic.field_validator("x")
    @classmethod
    def refuse(cls, x):
        raise ZeroDivisionError("by validator")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Moody, {"mood": "key"}, "KeyError: 'gone'"),
        (Moody, {"mood": "value"}, "bad mood"),
        (MoodyModel, {"x": 1}, "ZeroDivisionError: by validator"),
    ],
)
def test_whatever_a_user_s_type_raises_is_a_validation_error(kind, value, reason):
    def function(first: int, value, *, more: int = 0): ...

    function.__annotations__["value"] = kind
    signature = Signature("t", function)

    for args, kwargs in (((1, value), {}), ((1,), {"value": value, "more": 2})):
        with pytest.raises(ValidationError, match=rf"^t: argument 'value': {reason}"):
            signature.encode(args, kwargs, check=True)
    with pytest.raises(ValidationError, match=rf"^t: return value: {reason}"):
        accepts(int, returns=kind).encode_result(value, check=True)


class Unsendable(pydantic.BaseModel):
    x: int

    @pydantic.field_serializer("x")
    def refuse(self, x):
        raise LookupError("by serializer")


def test_whatever_a_user_s_type_raises_when_it_is_sent_is_a_validation_error():
    with pytest.raises(ValidationError, match=r"^t: argument 'value': .*by serializer"):
        accepts(Any).encode((Unsendable(x=1),), {}, check=False)
    with pytest.raises(ValidationError, match=r"^t: return value: .*by serializer"):
        accepts(Any).encode_result(Unsendable(x=1), check=False)


# -- the shape of a call ------------------------------------------------------------------


def plain(a: int, b: int = 2, *, c: int = 3): ...
def required(a: int, *, c: int): ...
def positional(a: int, b: int = 2, /, c: int = 3): ...
def anything(a: int, *rest: int, flag: bool = False, **more: float): ...
def nothing(): ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (plain, (1,), {}),
        (plain, (1, 5), {}),
        (plain, (), {"a": 1}),
        (plain, (1,), {"b": 5, "c": 6}),
        (plain, (1,), {"c": 6}),
        (required, (1,), {"c": 2}),
        (positional, (1,), {}),
        (positional, (1, 5, 6), {}),
        (positional, (1, 5), {"c": 6}),
        (anything, (1,), {}),
        (anything, (1, 2, 3), {"flag": True, "x": 1.5}),
        (anything, (), {"a": 1}),
        (nothing, (), {}),
    ],
)
def test_a_call_that_python_would_make_is_made(function, args, kwargs):
    signature = Signature("t", function)

    for _ in range(2):  # decoders are made, and kept
        decoded_args, decoded_kwargs = signature.decode(*signature.encode(args, kwargs, check=True))

        bind = inspect.signature(function).bind
        assert bind(*decoded_args, **decoded_kwargs) == bind(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "reason"),
    [
        (plain, (), {}, r"argument 'a' is missing"),
        (plain, (1, 2, 3), {}, r"takes 2 positional arguments, got 3"),
        (plain, (1,), {"z": 1}, r"unexpected argument 'z'"),
        (plain, (1,), {"a": 1}, r"argument 'a' is given twice"),
        (plain, (1,), {"c": "x"}, r"argument 'c': Expected `int`, got `str`"),
        (required, (1,), {}, r"argument 'c' is missing"),
        (required, (), {"c": 1}, r"argument 'a' is missing"),
        (positional, (), {"a": 1}, r"argument 'a' .*(missing|by position)"),
        (positional, (1,), {"b": 1}, r"argument 'b' must be given by position"),
        (anything, (), {}, r"missing a required argument: 'a'"),
        (anything, (1,), {"a": 2}, r"multiple values for argument 'a'"),
        (anything, (1, 2, "x"), {}, r"argument '\*rest\[1\]': Expected `int`, got `str`"),
        (anything, (1,), {"x": "y"}, r"argument 'x': Expected `float`, got `str`"),
        (anything, ("x",), {}, r"argument 'a': Expected `int`, got `str`"),
        (nothing, (1,), {}, r"takes 0 positional arguments, got 1"),
        (nothing, (), {"x": 1}, r"unexpected argument 'x'"),
    ],
)
def test_a_call_that_python_would_refuse_is_refused(function, args, kwargs, reason):
    signature = Signature("t", function)

    for _ in range(2):  # decoders are made, and kept
        with pytest.raises(ValidationError, match=rf"^t: {reason}"):
            signature.encode(args, kwargs, check=True)


def test_a_default_need_not_be_sendable_nor_fit():
    def function(a: int = None, b: Any = object()): ...  # noqa: B008, RUF013

    signature = Signature("t", function)

    assert signature.decode(*signature.encode((), {}, check=True)) == ((), {})


def test_a_model_may_have_a_default():
    def function(a: Model = Model(x=1), *, b: Model | None = None): ...  # noqa: B008

    signature = Signature("t", function)

    decoded = signature.decode(*signature.encode((), {"b": Model(x=2)}, check=True))

    assert decoded == ((), {"b": Model(x=2)})


def test_names_of_any_script_are_names():
    def function(größe: int): ...  # noqa: PLC2401

    with pytest.raises(ValidationError, match=r"argument 'größe': Expected"):
        Signature("t", function).encode((), {"größe": "x"}, check=True)


def dunders(__init__: int, __y: int = 2, *, __struct_fields__: int = 3, p0: int = 4): ...


def test_a_name_need_not_be_one_that_a_struct_can_have():
    signature = Signature("t", dunders)
    packed = signature.encode([], {"__init__": 1, "p0": 5}, check=True)

    assert signature.decode(*packed) == ((), {"__init__": 1, "p0": 5})
    assert signature.decode(*signature.encode([1], {"__y": 6}, check=True)) == ((1,), {"__y": 6})
    assert msgspec.msgpack.decode(packed[1]) == {"__init__": 1, "p0": 5}
    for kwargs, reason in (
        ({"__init__": 1, "__y": "x"}, "argument '__y': Expected `int`, got `str`"),
        ({"__y": 1}, "argument '__init__' is missing"),
        ({"__init__": 1, "p1": 1}, "unexpected argument 'p1'"),
    ):
        with pytest.raises(ValidationError, match=f"^t: {reason}$"):
            signature.encode([], kwargs, check=True)


def test_without_a_check_only_what_cannot_be_sent_is_refused():
    signature = accepts(int)

    packed = signature.encode(("x", "y"), {"z": 1}, check=False)

    with pytest.raises(ValidationError, match=r"takes 1 positional argument"):
        signature.decode(*packed)
    with pytest.raises(ValidationError, match=r"cannot be sent"):
        signature.encode((object(),), {}, check=False)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (b"\xa3abc", b"\x80"),
        (b"\xc0", b"\x80"),
        (b"\x80", b"\x80"),
        (b"\x91\x01", b"\xc0"),
        (b"\x90", b"\xc0"),
        (b"\x90", b"\x90"),
        (b"\x90", b"\x81\x05\x01"),
        (b"\x90", b"\x01"),
    ],
)
@pytest.mark.parametrize("function", [plain, anything])
def test_arguments_of_a_wrong_shape_from_elsewhere_are_refused(function, args, kwargs):
    signature = Signature("t", function)
    if function is plain and kwargs == b"\xc0" and args == b"\x91\x01":
        args = b"\x90"

    with pytest.raises(ValidationError):
        signature.decode(Raw(args), Raw(kwargs))


def test_many_arguments_are_counted_right():
    def function(*numbers: int): ...

    signature = Signature("t", function)
    numbers = tuple(range(70_000))

    assert signature.decode(*signature.encode(numbers, {}, check=True)) == (numbers, {})


# -- the context --------------------------------------------------------------------------


def c_first(ctx: TaskContext, a: int, b: int = 2): ...
def c_last(a: int, b: int = 2, *, ctx: TaskContext): ...
def c_middle(a: int, ctx: TaskContext, b: int): ...
def c_default(a: int = 1, ctx: TaskContext = CTX, b: int = 2): ...
def c_position(a: int, ctx: TaskContext, /, b: int): ...
def c_position_default(a: int = 7, b: int = 8, ctx: TaskContext = CTX, /, c: int = 9): ...
def c_rest(a: int, ctx: TaskContext, *rest: int, **more: int): ...
def c_optional(a: int, ctx: TaskContext | None = None): ...
def c_annotated(ctx: Annotated[TaskContext, "mine"], a: int): ...
def c_nothing(ctx: TaskContext): ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "injected"),
    [
        (c_first, (1,), {}, ((CTX, 1), {})),
        (c_first, (), {"a": 1}, ((CTX,), {"a": 1})),
        (c_last, (1,), {}, ((1,), {"ctx": CTX})),
        (c_last, (1, 2), {}, ((1, 2), {"ctx": CTX})),
        (c_middle, (1, 2), {}, ((1, CTX, 2), {})),
        (c_middle, (1,), {"b": 2}, ((1, CTX), {"b": 2})),
        (c_middle, (), {"a": 1, "b": 2}, ((), {"a": 1, "b": 2, "ctx": CTX})),
        (c_default, (), {}, ((), {"ctx": CTX})),
        (c_default, (1, 2), {}, ((1, CTX, 2), {})),
        (c_position, (1, 2), {}, ((1, CTX, 2), {})),
        (c_position_default, (), {}, ((7, 8, CTX), {})),
        (c_position_default, (1,), {"c": 5}, ((1, 8, CTX), {"c": 5})),
        (c_rest, (1, 2, 3), {"x": 4}, ((1, CTX, 2, 3), {"x": 4})),
        (c_rest, (), {"a": 1}, ((1, CTX), {})),
        (c_optional, (1,), {}, ((1, CTX), {})),
        (c_annotated, (1,), {}, ((CTX, 1), {})),
        (c_nothing, (), {}, ((CTX,), {})),
    ],
)
def test_the_context_goes_where_the_function_wants_it(function, args, kwargs, injected):
    signature = Signature("t", function)

    decoded = signature.decode(*signature.encode(args, kwargs, check=True))

    assert signature.wants_context
    placed_args, placed_kwargs = signature.inject(CTX, *decoded)
    function(*placed_args, **placed_kwargs)
    assert (tuple(placed_args), placed_kwargs) == injected


def test_a_function_without_context_gets_none():
    signature = Signature("t", plain)

    assert not signature.wants_context
    assert signature.inject(CTX, (1,), {}) == ((1,), {})


@pytest.mark.parametrize(("args", "kwargs"), [((CTX, 1), {}), ((1,), {"ctx": CTX})])
def test_a_caller_who_passes_a_context_is_told_to_leave_it_out(args, kwargs):
    for function in (c_first, plain):
        with pytest.raises(ValidationError, match=r"t: TaskContext is given by the worker"):
            Signature("t", function).encode(args, kwargs, check=True)


def two(a: TaskContext, b: TaskContext): ...
def starred(*contexts: TaskContext): ...
def named(**contexts: TaskContext): ...


@pytest.mark.parametrize("function", [two, starred, named])
def test_there_is_one_place_for_the_context(function):
    with pytest.raises(ConfigurationError, match=r"task t: one parameter.* TaskContext"):
        Signature("t", function)


# -- annotations --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postponed():
    path = pathlib.Path(__file__).with_name("postponed.py")
    spec = importlib.util.spec_from_file_location("postponed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["postponed"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["postponed"]


def test_annotations_may_be_strings(postponed):
    for function in (postponed.first, postponed.last):
        signature = Signature("t", function)

        decoded = signature.decode(*signature.encode(({"number": 1},), {}, check=True))

        assert signature.wants_context
        assert decoded == ((postponed.Order(1),), {})
        assert signature.decode_result(Raw(b"\x81\xa6number\x02")) == postponed.Order(2)


def test_an_annotation_that_names_nothing_is_a_configuration_error(postponed):
    with pytest.raises(ConfigurationError, match=r"task t: .*'Missing' is not defined; import"):
        Signature("t", postponed.lost)


@pytest.mark.parametrize("kind", [Model | str, int | Order | Point, str | dt.date], ids=repr)
def test_a_union_that_cannot_be_told_apart_is_a_configuration_error(kind):
    with pytest.raises(ConfigurationError, match=r"task t: .*not"):
        accepts(kind).encode((1,), {}, check=True)


@pytest.mark.parametrize("kind", [NoReturn, Never])
def test_a_task_that_only_raises_may_say_so(kind):
    assert accepts(int, returns=kind).decode_result(Raw(b"\xc0")) is None


def test_a_result_that_does_not_fit_is_refused_where_asked():
    signature = accepts(int, returns=int)

    packed = signature.encode_result("x", check=False)

    with pytest.raises(ValidationError, match=r"^t: return value: Expected `int`, got `str`"):
        signature.decode_result(packed)
    with pytest.raises(ValidationError, match=r"^t: return value: Expected `int`, got `str`"):
        signature.encode_result("x", check=True)
    with pytest.raises(ValidationError, match=r"^t: return value: builtins\.object cannot be sent"):
        signature.encode_result(object(), check=False)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (b"\x91\x01", "t: argument 'y' is missing"),
        (b"\x92\x01\xc3", "t: argument 'y': Expected `int`, got `bool`"),
        (b"\x93\x01\x01\x01", "t: takes 2 positional arguments, got 3"),
    ],
)
def test_what_does_not_fit_is_named_also_after_calls_that_fit(args, why):
    def add(x: int, y: int) -> None: ...

    signature, nothing = Signature("t", add), Raw(b"\x80")
    for _ in range(2):
        assert signature.decode(Raw(b"\x92\x01\x02"), nothing) == ((1, 2), {})

    with pytest.raises(ValidationError) as caught:
        signature.decode(Raw(args), nothing)

    assert str(caught.value) == why
