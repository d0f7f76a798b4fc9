"""Logging in, and what the one who logs in must be allowed to do."""

from __future__ import annotations

import base64
import json
import math
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from uuid import uuid4

import nkeys
import pytest
from anyio import fail_after
from servers.nats import NatsServer

import chicory_nats
from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import Heard, dead, done, message, record, retry, take
from chicory.transport import Cancelled, Counts, Settled, TransportSettings, WorkerRecord
from chicory_nats import NatsTransport

_DOCUMENTED = """
    publish: [
        "chicory.NS.>",
        "$JS.API.STREAM.CREATE.CHICORY_NS", "$JS.API.STREAM.INFO.CHICORY_NS",
        "$JS.API.STREAM.PURGE.CHICORY_NS", "$JS.API.STREAM.MSG.DELETE.CHICORY_NS",
        "$JS.API.DIRECT.GET.CHICORY_NS", "$JS.API.CONSUMER.*.CHICORY_NS.>",
        "$JS.API.CONSUMER.MSG.NEXT.CHICORY_NS.*", "$JS.ACK.CHICORY_NS.>"
    ]
    subscribe: ["_INBOX.>", "chicory-push.NS.>"]
"""


_ASKED = r"(?:STREAM|CONSUMER|DIRECT)(?:\.[A-Z]+)+"
_PAGE = Path(__file__).parents[3] / "docs" / "nats.md"


def test_all_that_is_asked_of_jetstream_is_granted_on_the_page():
    sources = Path(chicory_nats.__file__).parent.glob("*.py")
    asked = {found for source in sources for found in re.findall(_ASKED, source.read_text())}
    granted = re.findall(r"\$JS\.API\.([A-Z.*]+)\.CHICORY", _PAGE.read_text())

    assert "STREAM.CREATE" in asked
    assert [one for one in asked if not any(fnmatch(one, given) for given in granted)] == []


_CREDENTIALS = """-----BEGIN NATS USER JWT-----
{}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{}
------END USER NKEY SEED------
"""
_KINDS = {
    "O": nkeys.PREFIX_BYTE_OPERATOR,
    "A": nkeys.PREFIX_BYTE_ACCOUNT,
    "U": nkeys.PREFIX_BYTE_USER,
}


class _Key:
    """A key of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), _KINDS[kind])
        self.public = nkeys.from_seed(bytearray(self.seed)).public_key.decode()

    def token(self, subject: _Key, kind: str, claims: dict) -> str:
        """What the holder of this key says of another one: a JWT."""
        body = {"jti": uuid4().hex, "iat": 1, "iss": self.public, "sub": subject.public}
        body |= {"name": kind, "nats": {**claims, "type": kind, "version": 2}}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = b".".join(_base64(json.dumps(part).encode()) for part in (head, body))
        signature = nkeys.from_seed(bytearray(self.seed)).sign(text)
        return (text + b"." + _base64(signature)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _Patience:
    patience = 20.0


def _settings(server: NatsServer, login: str = "", options: str = "", namespace: str = "NS"):
    url = f"nats://{login}127.0.0.1:{server.port}{options}"
    return TransportSettings(url=url, namespace=namespace)


@pytest.fixture
def with_password(tmp_path):
    users = "authorization { user: me, password: 'right' }"
    with NatsServer(tmp_path, extra=users) as server:
        yield server


async def test_a_user_logs_in_with_a_password(with_password):
    async with NatsTransport(_settings(with_password, "me:right@")) as transport:
        await transport.ping()


@pytest.mark.parametrize("login", ["", "me:wrong@", "you:right@", "right@"])
async def test_a_wrong_login_is_reported_without_the_secret(with_password, login):
    with pytest.raises(BrokerConnectionError) as raised:
        await NatsTransport(_settings(with_password, login)).open()

    assert "refused the login" in str(raised.value)
    assert "wrong" not in str(raised.value)


async def test_a_token_logs_in(tmp_path):
    with NatsServer(tmp_path, extra="authorization { token: 'a-token' }") as server:
        async with NatsTransport(_settings(server, "a-token@")) as transport:
            await transport.ping()


async def test_an_nkey_logs_in(tmp_path):
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    path = tmp_path / "seed"
    path.write_bytes(seed)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    users = f"authorization {{ users: [ {{ nkey: {public} }} ] }}"
    with NatsServer(tmp_path / "server", extra=users) as server:
        async with NatsTransport(_settings(server, options=f"?nkey={path}")) as transport:
            await transport.ping()


async def test_a_file_of_credentials_logs_in(tmp_path):
    operator, system, account, user = (_Key(kind) for kind in "OAAU")
    limits = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    unlimited = {"subs": -1, "conn": -1, "data": -1, "payload": -1, "leaf": -1, "imports": -1}
    claims = {"limits": {**unlimited, "exports": -1, "wildcards": True, **limits}}
    extra = f"""
        operator: {operator.token(operator, "operator", {"system_account": system.public})}
        system_account: {system.public}
        resolver: MEMORY
        resolver_preload: {{
            {system.public}: {operator.token(system, "account", {"limits": unlimited})}
            {account.public}: {operator.token(account, "account", claims)}
        }}
    """
    path = tmp_path / "app.creds"
    path.write_text(_CREDENTIALS.format(account.token(user, "user", unlimited), user.seed.decode()))
    with NatsServer(tmp_path / "server", extra=extra) as server:
        async with NatsTransport(_settings(server, options=f"?credentials={path}")) as transport:
            await transport.publish([message("1")])
        with pytest.raises(BrokerConnectionError, match="refused the login"):
            await NatsTransport(_settings(server)).open()


_RIGHT = _CREDENTIALS.format("a.jwt", "SU" + 56 * "A")


@pytest.mark.parametrize(
    ("option", "content", "wanted"),
    [
        ("nkey", "", "must hold the seed of a user"),
        ("nkey", "UA" + 54 * "A", "must hold the seed of a user"),
        ("nkey", _RIGHT, "must hold the seed of a user"),
        ("credentials", "", "must hold a JWT and the seed"),
        ("credentials", "SU" + 56 * "A", "must hold a JWT and the seed"),
        ("credentials", _RIGHT[:60], "must hold a JWT and the seed"),
        ("credentials", _RIGHT.replace("\n", "\r\n"), "must hold a JWT and the seed"),
    ],
)
async def test_a_file_that_is_none_to_log_in_with_is_named(
    with_password, tmp_path, option, content, wanted
):
    path = tmp_path / "login"
    path.write_bytes(content.encode())

    with pytest.raises(ConfigurationError, match=wanted) as raised:
        await NatsTransport(_settings(with_password, options=f"?{option}={path}")).open()

    assert f"{option}='{path}'" in str(raised.value)


async def test_a_file_to_log_in_with_that_is_gone_or_a_folder_is_named(with_password, tmp_path):
    path = tmp_path / "login"
    path.write_bytes(_RIGHT.encode())
    transport = NatsTransport(_settings(with_password, options=f"?credentials={path}"))
    path.unlink()

    with pytest.raises(ConfigurationError, match=r"credentials='.*/login': .* No such file"):
        await transport.open()
    with pytest.raises(ConfigurationError, match=r"nkey='.*': .* Is a directory"):
        NatsTransport(_settings(with_password, options=f"?nkey={tmp_path}"))


async def test_what_the_documentation_grants_is_enough(tmp_path):
    users = f"""
        authorization {{ users: [
            {{ user: me, password: right, permissions: {{ {_DOCUMENTED} }} }}
        ] }}
    """
    with NatsServer(tmp_path, extra=users) as server:
        async with NatsTransport(_settings(server, "me:right@")) as transport:
            await _use(transport)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("chicory.NS.>", "publish to chicory.NS.b"),
        ("$JS.API.STREAM.INFO.CHICORY_NS", "publish to $JS.API.STREAM.INFO.CHICORY_NS"),
        ("$JS.API.DIRECT.GET.CHICORY_NS", "publish to $JS.API.DIRECT.GET.CHICORY_NS"),
        ("$JS.API.CONSUMER.*.CHICORY_NS.>", "publish to $JS.API.CONSUMER.CREATE.CHICORY_NS.q_"),
        ("$JS.API.CONSUMER.MSG.NEXT.CHICORY_NS.*", "$JS.API.CONSUMER.MSG.NEXT.CHICORY_NS.q_"),
        ("_INBOX.>", "subscribe to _INBOX."),
        ("chicory-push.NS.>", "subscribe to chicory-push.NS."),
    ],
)
async def test_a_permission_that_is_missing_is_told_at_once_to_the_call_that_needs_it(
    tmp_path, monkeypatch, missing, named
):
    for module in ("boot", "connection", "exchange", "reading"):
        monkeypatch.setattr(f"chicory_nats.{module}.TIMEOUT", 100.0)  # which nobody waits for
    with (
        _granting(tmp_path, missing) as server,
        fail_after(_Patience.patience),
        pytest.raises(ConfigurationError) as raised,
    ):
        await _begin(NatsTransport(_settings(server, "me:right@")))

    assert named in str(raised.value)
    assert "docs/nats.md" in str(raised.value)


async def test_a_denied_acknowledgement_is_logged_once(tmp_path, caplog):
    with _granting(tmp_path, "$JS.ACK.CHICORY_NS.>") as server:
        async with NatsTransport(_settings(server, "me:right@")) as transport:
            await transport.publish([message(name) for name in "12"])
            for delivery in await take(transport):
                await transport.settle([done(delivery)])

    (line,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert "may not publish to $JS.ACK.CHICORY_NS.q_" in line


async def _begin(transport: NatsTransport) -> None:
    async with transport:
        await transport.watch(["1"], lambda *_: None)
        await transport.publish([message("1")])
        await transport.fetch(["q"], 1, math.inf)


def _granting(folder: Path, missing: str) -> NatsServer:
    granted = _DOCUMENTED.replace(f'"{missing}"', '"nothing"')
    assert granted != _DOCUMENTED
    users = f"{{ user: me, password: right, permissions: {{ {granted} }} }}"
    return NatsServer(folder, extra=f"authorization {{ users: [ {users} ] }}")


async def _use(transport: NatsTransport) -> None:
    heard = Heard(_Patience())
    await transport.publish([message(name, unique=name) for name in "12345"])
    assert list(await transport.cancel([record("5")])) == [Cancelled.REMOVED]
    one, two, three, _ = await take(transport)
    await transport.watch(["1"], heard)
    settlements = [done(one, b"result"), dead(two), retry(three, not_before=4e9)]
    assert list(await transport.settle(settlements)) == [Settled.SETTLED] * 3
    await heard.until_hearing("1", b"result")
    assert dict(await transport.counts()) == {"q": Counts(delayed=1, leased=1, dead=1)}
    await transport.set_paused("q", paused=True)
    assert await transport.purge("q") == 1
    assert list(await transport.discard(["letter 2"])) == [True]
    worker = WorkerRecord(uuid4().hex, ("q",), b"")
    await transport.beat(worker, 30)
    assert [one.worker_id for one in await transport.workers()] == [worker.worker_id]
