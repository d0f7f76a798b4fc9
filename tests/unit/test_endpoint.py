"""The small HTTP endpoint: real sockets, on loopback."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from chicory.answers import Answer, absent, as_json, health
from chicory.endpoint import Endpoint, answer_on, ask_on
from chicory.errors import ConfigurationError

DEADLINE = 60
BYTES = 1000


def respond(target: str) -> Answer:
    match target:
        case "/live":
            return health([])
        case "/ready":
            return health(["no broker"])
        case "/bad":
            raise RuntimeError("a bug")
        case "/metrics?process=2":
            return Answer(200, b"a 1\n", "text/plain")
        case _:
            return absent()


@pytest.fixture(params=["127.0.0.1", "::1"])
def endpoint(request):
    with Endpoint(request.param, 0, respond) as endpoint:
        yield endpoint


@contextmanager
def connected(endpoint: Endpoint):
    where = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=DEADLINE)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/live", 200, {"status": "ok", "reasons": []}),
        ("/ready", 503, {"status": "unavailable", "reasons": ["no broker"]}),
        ("/", 404, {"error": "there are /live, /ready and /metrics"}),
        ("/bad", 500, {"error": "RuntimeError('a bug')"}),
    ],
)
def test_a_path_is_answered_with_json(endpoint, path, status, said):
    with connected(endpoint) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()

        assert answer.status == status
        assert answer.getheader("Content-Type") == "application/json"
        assert json.loads(answer.read()) == said


def test_the_query_is_part_of_the_question(endpoint):
    with connected(endpoint) as connection:
        connection.request("GET", "/metrics?process=2")
        answer = connection.getresponse()

        assert (answer.getheader("Content-Type"), answer.read()) == ("text/plain", b"a 1\n")


def test_a_head_has_no_body_and_other_methods_are_refused(endpoint):
    for method, status in (("HEAD", 503), ("POST", 501)):
        with connected(endpoint) as connection:
            connection.request(method, "/ready")
            answer = connection.getresponse()

            assert answer.status == status
            assert method == "POST" or answer.read() == b""


def test_one_that_says_nothing_keeps_nobody_waiting_nor_the_end(endpoint, capfd, monkeypatch):
    monkeypatch.setattr("chicory.endpoint._Handler.timeout", DEADLINE)
    where = urlsplit(endpoint.url)
    with socket.create_connection((where.hostname, where.port)):
        test_a_path_is_answered_with_json(endpoint, "/live", 200, {"status": "ok", "reasons": []})
        endpoint.__exit__(None, None, None)
        with pytest.raises(ConnectionRefusedError), connected(endpoint) as connection:
            connection.connect()
        endpoint.__enter__()  # for the fixture
    assert capfd.readouterr().err == ""


def test_one_that_asks_byte_by_byte_for_ever_is_hung_up_on(endpoint, monkeypatch):
    monkeypatch.setattr("chicory.endpoint._Handler.timeout", 0.1)
    where = urlsplit(endpoint.url)
    hung_up = False
    with socket.create_connection((where.hostname, where.port)) as client:
        client.settimeout(0.01)
        for _ in range(BYTES):
            try:
                client.sendall(b"x")
                hung_up = not client.recv(1)
            except TimeoutError:
                continue
            except ConnectionError:
                hung_up = True
            if hung_up:
                break

    assert hung_up


def test_a_port_that_is_taken_is_a_mistake_that_names_it():
    with Endpoint("127.0.0.1", 0, respond) as first:
        port = urlsplit(first.url).port
        second = Endpoint("127.0.0.1", port, respond)

        with pytest.raises(ConfigurationError, match=f"health_port: 127.0.0.1:{port} cannot"):
            second.__enter__()


def test_a_host_that_is_not_ours_is_a_mistake():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        Endpoint("192.0.2.1", 0, respond).__enter__()


def test_a_question_can_come_over_any_connection():
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=answer_on, args=(theirs, respond))
    thread.start()

    answer = ask_on(ours, "/ready", DEADLINE)

    thread.join()
    assert answer == health(["no broker"])


def test_no_answer_in_time_is_an_error():
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(TimeoutError):
        ask_on(ours, "/live", 0.01)


def test_an_end_in_place_of_an_answer_is_an_error():
    ours, theirs = socket.socketpair()
    theirs.close()

    with pytest.raises(OSError, match=r".*"):
        ask_on(ours, "/live", DEADLINE)


def test_a_client_that_is_gone_is_no_error(capfd):
    ours, theirs = socket.socketpair()
    ours.sendall(b"GET /live HTTP/1.0\r\n\r\n")
    ours.close()

    answer_on(theirs, lambda _: as_json(200, "x" * 1_000_000))

    assert capfd.readouterr().err == ""
