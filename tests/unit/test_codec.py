import subprocess
import sys

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory import codec


class Model(pydantic.BaseModel):
    x: int


def test_a_model_without_pydantic_s_import_is_a_plain_stranger():
    code = (
        "from chicory import codec\n"
        "class Model: ...\n"
        "try: codec.encode(Model())\n"
        "except TypeError as error: print(error)\n"
        "import sys; assert 'pydantic' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == (
        "__main__.Model cannot be sent without app.register_type(Model, encode=..., decode=...)\n"
    )


def test_a_model_travels_by_the_names_of_its_fields():
    class Aliased(pydantic.BaseModel):
        user_id: int = pydantic.Field(alias="userId")

    assert msgspec.msgpack.decode(codec.encode(Aliased(userId=1))) == {"user_id": 1}


def test_another_language_may_send_a_model_by_its_aliases():
    class Aliased(pydantic.BaseModel):
        user_id: int = pydantic.Field(alias="userId")

    body = msgspec.msgpack.encode({"userId": 3})

    assert codec.decoder(Aliased).decode(body) == Aliased(userId=3)


def test_every_reason_of_a_model_is_in_one_line():
    class Two(pydantic.BaseModel):
        x: int
        y: list[int]

    with pytest.raises(msgspec.ValidationError) as caught:
        codec.decoder(Two).decode(msgspec.msgpack.encode({"y": [1, "a"]}))

    assert str(caught.value) == (
        "x: Field required; y.1: Input should be a valid integer, "
        "unable to parse string as an integer"
    )


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_raise_only_what_is_listed(body):
    for kind in (object, int, list[Model], dict[str, int], tuple[int, ...], Model):
        try:
            codec.decoder(kind).decode(body)
        except codec.DECODE_ERRORS:
            continue


@pytest.mark.parametrize("value", [object(), 2**64, "\ud800", {(): object()}, 1j])
def test_what_cannot_be_sent_raises_only_what_is_listed(value):
    with pytest.raises(codec.ENCODE_ERRORS):
        codec.encode(value)
