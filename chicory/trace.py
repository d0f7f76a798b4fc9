"""Tracebacks as text. What many calls fail of in the same way is put together once.

Python writes one for some 200 µs, several times what running a call takes: where a database is
down and every call fails, that would be what a worker does.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import CodeType, TracebackType

_HEAD = "Traceback (most recent call last):\n"
_CAUSED = (
    "\nThe above exception was the direct cause of the following exception:\n\n",
    "\nDuring handling of the above exception, another exception occurred:\n\n",
)
_OF_THEIR_OWN = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)
"""Exceptions that Python may say more of than their message."""
_MOST_FRAMES = 100
_MOST_KEPT = 256

_Place = tuple[int, int]
_kept: dict[tuple[_Place, ...], tuple[list[CodeType], str]] = {}
"""Of frames, by the ids of their code and where in it they were: the code, and the lines."""


def text(error: BaseException, trace: TracebackType | None) -> str:
    """What ``traceback.format_exception`` makes of an error with this traceback of its own."""
    try:
        parts = _parts(error, trace)
    except Exception:  # noqa: BLE001  (the user's code)
        parts = None
    return "".join(parts or traceback.format_exception(type(error), error, trace))


def _parts(error: BaseException, trace: TracebackType | None) -> list[str] | None:
    """Its parts; ``None`` where there is more to be said than is known here."""
    parts: list[str] = []
    for one, link in reversed(list(_chain(error))):
        if not _is_plain(one):
            return None
        own = trace if one is error else one.__traceback__
        if own is not None:
            parts += (_HEAD, _frames(own))
        parts += (_last_line(one), link)
    return parts


def _is_plain(error: BaseException) -> bool:
    cause, context = error.__cause__, error.__context__
    if cause is not None and context is not None and cause is not context:
        return False  # which of what is behind them is shown is another question
    return not isinstance(error, _OF_THEIR_OWN) and not hasattr(error, "__notes__")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error, what it came of, and so on; of each what leads from it to the one before."""
    seen: set[int] = set()
    link = ""
    following: BaseException | None = error
    while following is not None:
        one, following = following, None
        seen.add(id(one))
        yield one, link
        cause, context = one.__cause__, one.__context__
        if cause is not None and id(cause) not in seen:
            following, link = cause, _CAUSED[0]
        elif context is not None and not one.__suppress_context__ and id(context) not in seen:
            following, link = context, _CAUSED[1]


def _last_line(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    message = str(error)
    return f"{name}: {message}\n" if message else f"{name}\n"


def _frames(trace: TracebackType) -> str:
    codes: list[CodeType] = []
    places: list[_Place] = []
    following: TracebackType | None = trace
    while following is not None and len(codes) < _MOST_FRAMES:
        code = following.tb_frame.f_code
        codes.append(code)
        places.append((id(code), following.tb_lasti))
        following = following.tb_next
    if following is not None:
        return "".join(traceback.format_tb(trace))
    key = tuple(places)
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        found = _kept[key] = (codes, "".join(traceback.format_tb(trace)))
    return found[1]
