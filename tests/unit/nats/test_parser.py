"""The parser gives out what nats-py's own gives out, however the bytes are cut."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser as Reference

from chicory_nats.parser import Parser

_WORD = st.from_regex(rb"[A-Za-z0-9.$_~=-]{1,30}", fullmatch=True)
_BODY = st.binary(max_size=60) | st.sampled_from([b"", b"\r\n", b"MSG a 1 2\r\n", b"x" * 5000])
_SID = st.integers(1, 3)


@st.composite
def _message(draw: st.DrawFn) -> bytes:
    subject, body = draw(_WORD), draw(_BODY)
    reply = draw(st.none() | _WORD)
    words = [subject, b"%d" % draw(_SID), *([] if reply is None else [reply])]
    headers = draw(st.none() | st.binary(max_size=40))
    if headers is None:
        return b"MSG %b %d\r\n%b\r\n" % (b" ".join(words), len(body), body)
    block = b"NATS/1.0\r\n%b\r\n\r\n" % headers
    sizes = b"%d %d" % (len(block), len(block) + len(body))
    return b"HMSG %b %b\r\n%b%b\r\n" % (b" ".join(words), sizes, block, body)


_OTHER = st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Slow Consumer'\r\n"])


class _Listener:
    """Notes what a parser gives out."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.parser: Parser | None = None

    def hook(self, sid: int, *message: Any) -> None:
        self.heard.append((sid, *message))

    async def _process_msg(self, sid, subject, reply, body, headers):
        self.hook(sid, subject, reply, headers or None, body)

    async def _process_err(self, text):
        self.heard.append(("error", text))

    async def _process_ping(self):
        self.heard.append(("ping",))

    async def _process_pong(self):
        self.heard.append(("pong",))


def _pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    ends = [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        yield data[start:end]


def _own(listener: _Listener) -> Parser:
    def hook(sid):
        return lambda *message: listener.hook(sid, *message)

    return Parser(listener, {sid: hook(sid) for sid in range(1, 4)}, lambda: None)


async def _feed(parser: Reference, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        await parser.parse(piece)


@given(
    st.lists(_message() | _message() | _OTHER, min_size=1, max_size=8),
    st.lists(st.integers(0, 6000), max_size=6),
)
def test_however_the_bytes_come_it_hears_the_same(commands, cuts):
    data = b"".join(commands)
    ours, theirs = _Listener(), _Listener()

    asyncio.run(_feed(_own(ours), _pieces(data, cuts)))
    asyncio.run(_feed(Reference(theirs), [data]))

    assert ours.heard == theirs.heard


def test_what_has_only_begun_is_kept_until_the_rest_comes():
    listener = _Listener()
    parser = _own(listener)

    asyncio.run(_feed(parser, [b"MSG a 1 3\r\nabc\r\nMSG b 2 ", b"5\r\nab", b"cde"]))
    assert listener.heard == [(1, b"a", b"", None, b"abc")]

    asyncio.run(_feed(parser, [b"\r\nMSG c 1 0\r\n\r\n"]))
    assert listener.heard[1:] == [(2, b"b", b"", None, b"abcde"), (1, b"c", b"", None, b"")]


def test_that_the_server_speaks_is_heard_by_messages_only():
    heard = list[bool]()
    parser = Parser(_Listener(), {}, lambda: heard.append(True))

    asyncio.run(_feed(parser, [b"PING\r\n", b"+OK\r\n", b"MSG a 1 "]))
    assert not heard

    asyncio.run(_feed(parser, [b"0\r\n\r\nMSG b 1 0\r\n\r\n"]))
    assert heard == [True]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"MSG a 1 x\r\n\r\n",
        b"MSG a 1 x\r\nPING\r\n",
        b"HMSG a 1 3\r\nabc\r\n",
        b"MSG\r\n",
        b"\r\n",
        b"WHAT 1\r\n",
    ],
)
def test_what_is_no_protocol_ends_the_connection(nonsense):
    parser = _own(_Listener())

    with pytest.raises(ProtocolError):
        asyncio.run(_feed(parser, [b"MSG a 1 0\r\n\r\n" + nonsense]))


def test_a_message_that_cannot_be_handled_does_not_hold_up_the_next_one(caplog):
    heard: list[bytes] = []

    def hook(subject: bytes, *_: Any) -> None:
        heard.append(subject)
        if subject == b"bad":
            raise ValueError

    parser = Parser(_Listener(), {1: hook}, lambda: None)
    with caplog.at_level(logging.ERROR, "chicory.nats"):
        asyncio.run(_feed(parser, [b"MSG bad 1 0\r\n\r\nMSG good 1 0\r\n\r\n"]))

    assert heard == [b"bad", b"good"]
    assert "could not be handled" in caplog.text


def test_a_message_for_a_subscription_that_has_ended_is_passed_over_without_a_word(caplog):
    heard: list[bytes] = []
    parser = Parser(_Listener(), {1: lambda subject, *_: heard.append(subject)}, lambda: None)

    with caplog.at_level(logging.ERROR, "chicory.nats"):
        asyncio.run(_feed(parser, [b"MSG gone 2 0\r\n\r\nMSG a 1 0\r\n\r\n"]))

    assert heard == [b"a"]
    assert not caplog.records
