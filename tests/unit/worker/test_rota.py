import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.errors import ConfigurationError
from chicory.worker.rota import Rota, parse

names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)


def test_names_alone_are_served_in_strict_order():
    rota = Rota(["high", "low"])

    assert {tuple(rota.order()) for _ in range(100)} == {("high", "low")}


def test_weights_are_shares_of_going_first():
    rota = Rota({"high": 3, "low": 1}, Random(1).random)

    first = Counter(rota.order()[0] for _ in range(10_000))

    assert 2.8 < first["high"] / first["low"] < 3.2


def test_what_is_served_is_told_as_it_was_given():
    assert str(Rota(["high", "low"])) == "high, low"
    assert str(Rota({"high": 3, "low": 1})) == "high=3, low=1"


@given(st.dictionaries(names, st.integers(1, 1000), min_size=1))
def test_every_order_holds_every_queue_once(weights):
    assert sorted(Rota(weights).order()) == sorted(weights)


def test_words_are_names_or_names_with_weights():
    assert parse(["a", "b"]) == ("a", "b")
    assert parse(["a=3", "b=c=1"]) == {"a": 3, "b=c": 1}
    assert parse([]) == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [(["a=3", "b"], "give each queue a weight, or none"), (["a=3", "a=1"], "--queue a is given")],
)
def test_words_that_contradict_one_another_are_refused(words, told):
    with pytest.raises(ConfigurationError, match=told):
        parse(words)


@pytest.mark.parametrize(
    ("queues", "told"),
    [
        ([], "needs a queue"),
        ({}, "needs a queue"),
        ("mail", r"^queues='mail': must be a list of names: write queues=\['mail'\]$"),
        (5, r"^queues=5: must be a list of names, or a mapping of them to weights$"),
        (b"mail", r"^queues=b'mail': must be a list of names, or"),
        ([5], r"^queue 5: must be text of 1 to 255 characters$"),
        ([None], r"^queue None: must be text"),
        ([["a"]], r"^queue \['a'\]: must be text"),
        (["a\ud800"], r"^queue 'a\\ud800': must be text"),
        ([""], "1 to 255 characters"),
        (["a" * 256], "1 to 255 characters"),
        (["a", "a"], "given twice"),
        ({"a": 0}, r"^queue a=0: a weight is a whole number, 1 or more$"),
        ({"a": "3"}, r"^queue a='3': a weight is a whole number, 1 or more$"),
        ({"a": 1.5}, r"^queue a=1\.5: a weight is a whole number"),
        ({"a": None}, r"^queue a=None: a weight is a whole number"),
    ],
)
def test_queues_that_cannot_be_served_are_refused(queues, told):
    with pytest.raises(ConfigurationError, match=told):
        Rota(queues)


@pytest.mark.parametrize("word", ["high=x", "high=", "high=1.5", "high=-1", "=3", "high=+3"])
def test_what_stands_for_a_weight_and_is_none_is_refused(word):
    with pytest.raises(ConfigurationError, match=f"^--queue {re.escape(word)}: write name=weight"):
        parse([word])


def test_a_name_with_control_characters_is_refused():
    with pytest.raises(ConfigurationError, match=r"^queue 'a\\nb': must be without control char"):
        Rota(["a\nb"])
