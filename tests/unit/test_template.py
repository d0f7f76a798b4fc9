"""What is encoded once for many calls gives the very bytes that each call alone would have."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chicory import Chicory, ChicoryConfig, RetryPolicy
from chicory import message as messages
from chicory.call import compose
from chicory.errors import MessageTooLargeError, ValidationError
from chicory.options import CallOptions
from chicory.signature import Signature
from chicory.template import Template
from chicory.transport import Priority

NOW = 1_800_000_000.0


def add(a: int, b: str = "", *, c: float = 0.0) -> None: ...


def template(options: CallOptions, name: str = "add", **config) -> Template:
    app = Chicory("memory://", config=ChicoryConfig(**config))
    return Template(Signature(name, add), options, app.broker, check=True)


def options() -> st.SearchStrategy[CallOptions]:
    seconds = st.none() | st.integers(0, 10**6)
    return st.builds(
        CallOptions,
        queue=st.text("abcé", min_size=1),
        priority=st.sampled_from(Priority),
        delay=seconds,
        expires=st.none() | st.integers(1, 10**6),
        unique=st.none() | st.just("key"),
        headers=st.dictionaries(st.text(), st.text(), max_size=20),
        timeout=st.none() | st.floats(0.1, 1e6),
        retry_policy=st.none() | st.just(RetryPolicy(retry_on=[ValueError])),
    )


@given(
    options(),
    st.text("ab.:ü", min_size=1, max_size=255),
    st.tuples(st.integers(-(2**63), 2**64 - 1), st.text(max_size=300)),
    st.fixed_dictionaries({}, optional={"c": st.floats(allow_nan=False)}),
    st.floats(1.0, 1e10),
)
def test_the_bytes_are_those_of_the_call_alone(options, name, args, kwargs, now):
    made = template(options, name).publication(args, kwargs, now)

    alone = compose(Signature(name, add), options, args, kwargs, now, check=True)
    alone = replace(alone, id=made.task_id)
    assert made.body == messages.encode(alone)
    assert (made.queue, made.priority) == (options.queue, options.priority)
    assert made.not_before == (alone.eta.timestamp() if alone.eta else 0.0)
    assert made.unique == alone.unique


@given(
    options(),
    st.lists(st.tuples(st.integers(-9, 9), st.text(max_size=300)), min_size=1, max_size=5),
    st.fixed_dictionaries({}, optional={"c": st.floats(allow_nan=False)}),
    st.floats(1.0, 1e10),
)
def test_the_bytes_of_calls_made_together_are_those_of_each_alone(options, calls, kwargs, now):
    options = replace(options, delay=None, expires=None, unique=None)
    made = template(options)

    publications = made.publications([made.pack(args, kwargs) for args in calls], now)

    assert made.alike
    for args, publication in zip(calls, publications, strict=True):
        alone = compose(Signature("add", add), options, args, kwargs, now, check=True)
        alone = replace(alone, id=publication.task_id)
        assert publication.body == messages.encode(alone)
        assert len(publication.body) == made.frame + len(made.pack(args, kwargs))
        assert (publication.queue, publication.priority) == (options.queue, options.priority)


def test_what_is_too_large_is_refused_when_it_is_packed():
    made = template(CallOptions(), max_message_size=300)
    fits = "x" * 100
    fits += "x" * (300 - made.frame - len(made.pack((1, fits), {})))

    assert len(made.publications([made.pack((1, fits), {})], NOW)[0].body) == 300
    with pytest.raises(MessageTooLargeError, match="'add' has 301 bytes"):
        made.pack((1, fits + "x"), {})


def test_each_call_has_an_id_of_its_own():
    made = template(CallOptions())

    ids = [made.publication((1,), {}, NOW).task_id for _ in range(100)]

    assert len(set(ids)) == 100
    assert ids == sorted(ids)


def test_an_eta_far_away_is_looked_at_when_the_call_is_made():
    made = template(CallOptions(eta=datetime.fromtimestamp(NOW, UTC) + timedelta(days=9)))

    assert made.publication((1,), {}, NOW).not_before == NOW + 9 * 86_400


@pytest.mark.parametrize("key", [None, "key"])
def test_what_is_wrong_is_said_as_ever(key):
    made = template(CallOptions(unique=key), max_message_size=300)

    with pytest.raises(ValidationError, match="add: argument 'a': Expected `int`"):
        made.publication(("x",), {}, NOW)
    with pytest.raises(MessageTooLargeError, match="'add' has 3"):
        made.publication((1, "x" * 300), {}, NOW)
    with pytest.raises(ValidationError, match="queue"):
        template(CallOptions(unique=key, queue="\ud800"))


def test_a_signed_message_is_signed_whole():
    app = Chicory("memory://", config=ChicoryConfig(signing_keys="a:" + "s" * 32))
    made = Template(Signature("add", add), CallOptions(), app.broker, check=True)

    assert not made.alike
    body = made.publication((1,), {}, NOW).body

    assert messages.decode(app.seal.open(body)).name == "add"
