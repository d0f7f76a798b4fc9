"""The stream of a namespace: made where it is missing, compared where it is there."""

from __future__ import annotations

from typing import Any

from chicory.errors import ConfigurationError
from chicory_nats.session import RESERVE, Session, clash
from chicory_nats.wire import version

OLDEST = (2, 12, 1)
"""The first server whose schedules, guards and batches are what is needed here."""
_WINDOW = 2_000_000_000
_SAID = {"num_replicas": "replicas", "storage": "storage"}


async def is_gone(session: Session) -> bool:
    """Whether the server is sure that there is no stream."""
    answer = await session.api(f"STREAM.INFO.{session.subjects.stream}")
    return "config" not in answer


async def ensure(session: Session) -> None:
    """Have the stream. Raises ``ConfigurationError`` where it cannot be had as it must be."""
    check_server(session)
    wanted = _configuration(session)
    answer = await session.ask(f"STREAM.CREATE.{session.subjects.stream}", wanted)
    if "error" not in answer:
        return
    found = await session.api(f"STREAM.INFO.{session.subjects.stream}")
    if "config" not in found:
        raise clash(session, f"no stream: {answer['error'].get('description')}")
    compare(session, wanted, found["config"])


def check_server(session: Session) -> None:
    """Raise where the server is too old, has no JetStream, or takes no messages to speak of."""
    server = session.connection.server
    text = str(server.get("version", ""))
    if version(text) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigurationError(
            f"{session.address} is nats-server {text or 'of an unknown version'}: "
            f"chicory needs {oldest} or newer"
        )
    elsewhere = session.address.domain is not None
    if not (server.get("jetstream") or elsewhere):
        raise ConfigurationError(f"{session.address}: JetStream is off: start the server with -js")
    if session.connection.max_payload <= RESERVE:
        raise ConfigurationError(
            f"{session.address}: max_payload is {session.connection.max_payload} bytes, and "
            f"chicory needs more than {RESERVE}: raise it on the server"
        )


def compare(session: Session, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raise where a stream is not as it must be, naming the first difference."""
    for name, value in wanted.items():
        if name == "duplicate_window" or found.get(name, _absent(value)) == value:
            continue
        raise clash(
            session,
            f"the stream {session.subjects.stream} has {_SAID.get(name, name)}="
            f"{found.get(name)!r}, not {value!r}; chicory changes no stream that exists: "
            "change the settings, or edit or delete the stream",
        )


def _configuration(session: Session) -> dict[str, Any]:
    subjects = session.subjects
    return {
        "name": subjects.stream,
        "subjects": [f"{subjects.root.decode()}.>"],
        "retention": "workqueue",
        "storage": session.address.storage,
        "num_replicas": session.address.replicas,
        "discard": "old",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "allow_rollup_hdrs": True,
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "allow_atomic": True,
        "allow_direct": True,
        "duplicate_window": _WINDOW,
        "republish": {
            "src": subjects.records().decode(),
            "dest": f"{subjects.push_root().decode()}.>",
        },
    }


def _absent(value: object) -> object:
    """What an answer that lacks a field means."""
    return False if isinstance(value, bool) else 0 if isinstance(value, int) else None
