"""What the proxy does to a connection in the middle of an answer."""

from __future__ import annotations

import socket
from threading import Thread

import pytest

from chicory.testing.faults.proxy import Proxy

ANSWER = b"0123456789"


@pytest.fixture
def line():
    """A client's connection, through a proxy, to who answers each word; and the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            far, _ = listener.accept()
            with far:
                while far.recv(100):
                    far.sendall(ANSWER)

        server = Thread(target=serve, daemon=True)
        server.start()
        with (
            Proxy(listener.getsockname()[1]) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as near,
        ):
            yield near, proxy
        server.join()


def answered(near: socket.socket) -> bytes:
    near.sendall(b"word")
    return near.recv(100)


def all_that_comes(near: socket.socket) -> bytes:
    near.sendall(b"word")
    with near.makefile("rb") as file:
        return file.read()


def test_a_connection_is_closed_in_the_middle_of_an_answer(line):
    near, proxy = line
    assert answered(near) == ANSWER
    proxy.tear()

    assert all_that_comes(near) == ANSWER[:5]


def test_a_connection_is_reset_in_the_middle_of_an_answer(line):
    near, proxy = line
    assert answered(near) == ANSWER
    proxy.tear(reset=True)

    with pytest.raises(ConnectionResetError):
        all_that_comes(near)
