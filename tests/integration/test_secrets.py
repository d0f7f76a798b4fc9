"""A planted password is in nothing that is shown: logs, errors, tracebacks, pictures, commands."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from msgspec import Struct
from servers.nats import NatsServer
from servers.redis import RedisServer, newest

from chicory import BackendType, BrokerType, Chicory, ChicoryError, Worker
from chicory.errors import ConfigurationError

SECRET = "hunter2"
PROGRAM = """
from chicory import BackendType, BrokerType, Chicory
app = Chicory(BrokerType.{kind}, BackendType.{kind})
@app.task(name="work")
def work() -> None: ...
"""
NATS_LOGIN = "authorization { user: me, password: another }"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Servers that refuse the login, by their kind."""
    folder: Path = tmp_path_factory.mktemp("locked")
    with (
        RedisServer(newest(), folder, ["--requirepass", "another"]) as redis,
        NatsServer(folder / "nats", extra=NATS_LOGIN) as nats,
    ):
        yield {"redis": redis.port, "nats": nats.port}


def pictures(found: object, depth: int = 4) -> Iterator[str]:
    """The ``repr`` of an object and of all that hangs on it; text that it keeps is no picture."""
    if isinstance(found, str | bytes):
        return
    yield repr(found)
    if depth and type(found).__module__.startswith("chicory"):
        names = found.__struct_fields__ if isinstance(found, Struct) else vars(found)
        for name in names:
            yield from pictures(getattr(found, name), depth - 1)


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class Dsn:
    def __repr__(self) -> str:
        return f"Dsn('redis://u:{SECRET}@h')"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([Dsn()], r"broker=Dsn\(\.\.\.\)\): must be a URL as text"),
        ([f"redis://u:{SECRET}@h".encode()], r"broker=bytes\(\.\.\.\)\): must be a URL as text"),
        (["memory://", Dsn()], r"backend=Dsn\(\.\.\.\)\): must be a URL as text"),
        ([f"memory://u:{SECRET}@h/x"], r"'memory://\*\*\*@h/x' is not an address in memory"),
        ([f"sqlite://u:{SECRET}@h/a.db"], r"'sqlite://\*\*\*@h/a.db' is not the URL"),
        ([f"sqlite:///a/?token={SECRET}"], r"token=\*\*\*' names no file"),
        ([f"sqlite:///a.db?password={SECRET}"], "there is no option 'password'"),
    ],
)
def test_a_secret_in_what_is_no_address_is_not_in_the_error(arguments, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        Chicory(*arguments)

    assert SECRET not in told(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:{SECRET}@h:1/0",
        f"redis://:{SECRET}@h",
        f"rediss://u:{SECRET}@h?ssl_cert_reqs=none",
        f"unix://u:{SECRET}@/run/redis.sock",
        f"redis+sentinel://u:{SECRET}@h/shop?sentinel_password={SECRET}",
        f"nats://u:{SECRET}@h:1",
        f"nats://{SECRET}@h:1",
    ],
)
def test_a_secret_is_in_no_picture_of_an_app(url):
    shown = list(pictures(Chicory(url)))

    assert any("TransportSettings" in each for each in shown)
    assert any("Address" in each for each in shown)
    assert SECRET not in "\n".join(shown)


@pytest.mark.parametrize(
    "url",
    [
        f"smoke://u:{SECRET}@h",
        f"u:{SECRET}@h",
        f"redis://u:{SECRET}@h:port/0",
        f"redis://u:{SECRET}@h:1/zero",
        f"redis://u:{SECRET}@h:1/0?bad=1",
        f"redis://h:1/0?password={SECRET}",
        f"rediss://u:{SECRET}@h?ssl_cert_reqs=perhaps",
        f"redis+sentinel://u:{SECRET}@h",
        f"nats://u:{SECRET}@h:port",
        f"nats://u:{SECRET}@h:1/path",
        f"nats://u:{SECRET}@h?bad=1",
        f"nats://h?token={SECRET}",
    ],
)
def test_a_url_that_is_wrong_is_told_without_its_secret(url):
    with pytest.raises(ConfigurationError) as caught:
        Chicory(url)

    assert SECRET not in str(caught.value)
    # the traceback quotes this file's code, which makes the URL; not the URL
    assert SECRET not in told(caught.value).replace(f"Chicory({url!r})", "")


@pytest.fixture
def locked(request, ports, folder, monkeypatch) -> Chicory:
    """An app that will be refused, because its password is another one than the server's."""
    kind = request.param
    monkeypatch.chdir(folder)
    for door in ("BROKER", "BACKEND"):
        prefix = f"CHICORY_{door}_{kind.upper()}"
        monkeypatch.setenv(f"{prefix}_HOST", "127.0.0.1")
        monkeypatch.setenv(f"{prefix}_PORT", str(ports[kind]))
        monkeypatch.setenv(f"{prefix}_USERNAME", "me" if kind == "nats" else "default")
        monkeypatch.setenv(f"{prefix}_PASSWORD", SECRET)
    (folder / "locked.py").write_text(PROGRAM.format(kind=kind.upper()))
    app = Chicory(BrokerType(kind), BackendType(kind))
    app.task(name="work")(told)
    return app


each_server = pytest.mark.parametrize("locked", ["redis", "nats"], indirect=True)


@each_server
async def test_a_login_that_is_refused_is_told_without_the_password(locked, caplog):
    caplog.set_level(logging.NOTSET)
    said: list[str] = []

    with anyio.fail_after(60):
        for attempt in (locked.connect, Worker(locked).run, Worker(locked).start):
            with pytest.raises(ChicoryError) as caught:
                await attempt()
            said.append(told(caught.value))
        doors = (locked.broker, locked.backend, Worker(locked))
        said += [repr(await door.healthcheck()) for door in doors]

    said += [caplog.text, *(repr(record.args) for record in caplog.records)]
    assert "127.0.0.1" in said[0]
    assert SECRET not in "\n".join(said)


@each_server
@pytest.mark.parametrize(
    "words",
    [
        "queues",
        "workers",
        "cleanup",
        "dlq list",
        "result {} id",
        "call {} work",
        "worker",
        "config",
    ],
)
def test_a_command_that_is_refused_says_no_password(locked, chicory, words):
    with_app = words.format("locked") if "{}" in words else f"{words} locked"

    said = chicory(*with_app.split())

    assert said.code == (0 if words == "config" else said.code)
    assert said.out + said.err
    assert SECRET not in said.out + said.err
    assert "Traceback" not in said.err
