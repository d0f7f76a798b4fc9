from typing import Annotated, Literal

import pytest
from msgspec import Meta

from chicory.accepted import accept, words
from chicory.errors import ConfigurationError
from chicory.states import DeliveryMode
from chicory.transport import Priority


@pytest.mark.parametrize(
    ("kind", "phrase"),
    [
        (bool, "true or false"),
        (int, "a whole number"),
        (Annotated[int, Meta(ge=1)], "a whole number, 1 or more"),
        (Annotated[int, Meta(ge=1, le=65535)], "a whole number from 1 to 65535"),
        (Annotated[float, Meta(gt=0)], "a number above 0"),
        (Annotated[float, Meta(ge=0)], "a number, 0 or more"),
        (Annotated[float, Meta(ge=0, le=1e9)], "a number from 0 to 1000000000"),
        (str, "text"),
        (Annotated[str, Meta(min_length=1, max_length=255)], "text of 1 to 255 characters"),
        (Literal["a", "b"], "one of a, b"),
        (DeliveryMode, "one of at_least_once, at_most_once"),
        (Priority, "one of 0, 1, 2"),
        (str | None, "text or None"),
        (ConfigurationError, "a ConfigurationError"),
    ],
    ids=str,
)
def test_what_is_accepted_is_said_in_words(kind, phrase):
    assert words(kind) == phrase


def test_an_error_names_the_setting_and_what_is_accepted():
    with pytest.raises(ConfigurationError, match=r"^X='a': must be a whole number, 1 or more$"):
        accept("a", Annotated[int, Meta(ge=1)], "X='a'")


def test_text_is_read_only_where_that_is_asked_for():
    assert accept("3", int, "X", strict=False) == 3
    with pytest.raises(ConfigurationError):
        accept("3", int, "X")
