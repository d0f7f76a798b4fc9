"""What comes is told at once, and in the order in which it came."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest
import trustme
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser as Reference
from servers.nats import NatsServer

from chicory_nats import connecting
from chicory_nats.address import parse
from chicory_nats.client import Client
from chicory_nats.connection import Connection
from chicory_nats.ear import Ear
from chicory_nats.parser import Parser

_MESSAGE = st.integers(0, 60) | st.just(40_000)
_OTHER = st.sampled_from([b"PING\r\n", b"PONG\r\n", b"-ERR 'Slow Consumer'\r\n"])
_COMMAND = _MESSAGE.map(lambda size: b"MSG a 1 %d\r\n%b\r\n" % (size, b"\r" * size)) | _OTHER


class _Listener:
    """Notes what it is given; what is not a message takes a turn of the event loop."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def hook(self, subject, reply, headers, body):
        self.heard.append(body)

    async def _process_msg(self, sid, subject, reply, body, headers):
        self.heard.append(body)

    async def _process_ping(self):
        await self._note("ping")

    async def _process_pong(self):
        await self._note("pong")

    async def _process_err(self, text):
        await self._note(text)

    async def _note(self, what: str) -> None:
        await asyncio.sleep(0)
        self.heard.append(what)


class _Ends:
    """Both ends of a connection of a listener: its ear, and the reader with its task."""

    def __init__(self, listener: _Listener) -> None:
        self.reader = asyncio.StreamReader()
        self.parser = Parser(listener, {1: listener.hook}, lambda: None)
        self.is_listening = True
        self.ear = Ear(
            self.reader,
            asyncio.StreamReaderProtocol(self.reader),
            self.parser,
            lambda: self.is_listening,
            is_encrypted=False,
        )

    async def read(self) -> None:
        """What nats-py's reader does."""
        while not self.reader.at_eof():
            await self.parser.parse(await self.reader.read(32768))


@given(
    st.lists(_COMMAND, min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 3)), max_size=8),
)
def test_whatever_comes_while_the_reader_parses_is_heard_in_its_order(commands, cuts):
    data = b"".join(commands)

    async def hear() -> list[object]:
        listener = _Listener()
        ends = _Ends(listener)
        reading = asyncio.create_task(ends.read())
        start = 0
        for end, turns in [*sorted((cut % (len(data) + 1), turns) for cut, turns in cuts)]:
            ends.ear.data_received(data[start:end])
            start = end
            for _ in range(turns):
                await asyncio.sleep(0)
        ends.ear.data_received(data[start:])
        ends.ear.eof_received()
        await reading
        return listener.heard

    async def expected() -> list[object]:
        listener = _Listener()
        await Reference(listener).parse(data)
        return listener.heard

    assert asyncio.run(hear()) == asyncio.run(expected())


async def _ends() -> tuple[_Listener, _Ends]:
    listener = _Listener()
    return listener, _Ends(listener)


def test_a_message_is_told_before_the_event_loop_turns():
    async def check() -> None:
        listener, ends = await _ends()
        ends.ear.data_received(b"MSG a 1 2\r\nhi\r\nMSG a 1 2\r\nyo\r\nMSG a 1 2\r\n")
        assert listener.heard == [b"hi", b"yo"]
        ends.ear.data_received(b"so\r\n")
        assert listener.heard == [b"hi", b"yo", b"so"]

    asyncio.run(check())


def test_who_wants_no_more_messages_is_told_none():
    async def check() -> None:
        listener, ends = await _ends()
        ends.is_listening = False
        ends.ear.data_received(b"MSG a 1 2\r\nhi\r\n")
        assert not listener.heard
        assert await ends.reader.read(100) == b"MSG a 1 2\r\nhi\r\n"

    asyncio.run(check())


def test_what_is_no_protocol_ends_the_reader():
    async def check() -> None:
        _, ends = await _ends()
        ends.ear.data_received(b"MSG a 1 2\r\nhi\r\nWHAT 1\r\n")
        with pytest.raises(ProtocolError):
            await ends.read()

    asyncio.run(check())


def test_that_the_connection_is_lost_reaches_the_reader():
    async def check() -> None:
        _, ends = await _ends()
        ends.ear.data_received(b"MSG a 1 2\r\nh")
        ends.ear.connection_lost(ConnectionResetError())
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(60):
                await ends.reader.read(1)

    asyncio.run(check())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def encrypted(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    pem = folder / "server.pem"
    extra = f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}'
    with NatsServer(tmp_path_factory.mktemp("nats"), extra=extra) as server:
        yield server


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_on_a_real_connection_no_message_takes_the_way_of_the_reader(
    server, encrypted, authority, loop, is_encrypted, monkeypatch
):
    read: list[bytes] = []
    parse = Parser.parse

    async def note(parser: Parser, data: bytes = b"") -> None:
        read.append(data)
        await parse(parser, data)

    monkeypatch.setattr(Parser, "parse", note)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port = encrypted.port if is_encrypted else server.port
    bodies = [b"%d" % number * (number % 30) for number in range(2_000)]

    async def check() -> None:
        over = asyncio.get_running_loop().create_future()
        heard: list[bytes] = []

        def hook(subject, reply, headers, body):
            heard.append(body)
            if len(heard) == len(bodies):
                over.set_result(None)

        client = Client({7: hook}, lambda _: None)
        options = {"tls": context} if is_encrypted else {}
        await client.connect(f"nats://localhost:{port}", allow_reconnect=False, **options)
        try:
            await client.flush()  # the server says more of itself first, which is no message
            await client.write(b"SUB a  7\r\n")
            await client.write(b"".join(b"PUB a %d\r\n%b\r\n" % (len(b), b) for b in bodies))
            async with asyncio.timeout(60):
                await over
                await client.flush()  # nats-py's own: a PONG comes its way
        finally:
            await client.close()
        assert heard == bodies

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())

    assert b"PONG" in b"".join(read)
    assert b"MSG a" not in b"".join(read)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_lost_as_it_is_made_is_made_again_at_once(loop, monkeypatch):
    monkeypatch.setattr(connecting, "_PING_INTERVAL", 3600)  # by which it would be found out
    welcome = b'INFO {"server_id":"x","version":"2.12.1","max_payload":1048576,"headers":true}\r\n'
    writers: list[asyncio.StreamWriter] = []
    again = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(welcome)
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n")
        if len(writers) == 1:  # what was written is read, then the connection is reset
            line = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            again.set()

    async def check() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            connection = Connection(parse(f"nats://127.0.0.1:{port}"))
            await connection.open()
            async with asyncio.timeout(60):
                await again.wait()
            await connection.close()
            for writer in writers:
                writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())
