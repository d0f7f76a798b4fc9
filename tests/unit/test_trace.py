import traceback
from collections.abc import Callable

import pytest

from chicory import trace


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def plain():
    raise ValueError("two\nlines")


def without_words():
    raise KeyError


def caused():
    try:
        plain()
    except ValueError as error:
        raise OSError(5, "down") from error


def in_a_handler():
    try:
        caused()
    except OSError:
        plain()


def hiding():
    try:
        plain()
    except ValueError:
        raise OSError from None


def of_two():
    try:
        without_words()
    except KeyError:
        try:
            plain()
        except ValueError as error:
            cause = error
        raise OSError from cause


def round_about():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    raise first


def grouped():
    raise ExceptionGroup("all", [ValueError(1), OSError(2)])


def noted():
    error = ValueError(1)
    error.add_note("so it was")
    raise error


def misspelt():
    return trace.texd  # pyright: ignore[reportAttributeAccessIssue]  (that is the case)


def unparsed():
    compile("a b", "file", "exec")


def odd():
    raise OddError


def without_end():
    without_end()


def deep(left: int = 30):
    if left:
        deep(left - 1)
    plain()


CASES = (plain, without_words, caused, in_a_handler, hiding, of_two, round_about, grouped, noted)


def error_of(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  (each has its own)
        function()
    return caught.value


@pytest.mark.parametrize("case", [*CASES, misspelt, unparsed, odd, without_end, deep])
def test_a_traceback_is_the_one_of_python_also_the_second_time(case):
    for _ in range(2):
        error = error_of(case)
        expected = "".join(traceback.format_exception(error))

        assert trace.text(error, error.__traceback__) == expected


@pytest.mark.parametrize("case", [plain, caused, in_a_handler, deep])
def test_what_many_calls_fail_of_is_put_together_once(monkeypatch, case):
    error = error_of(case)
    expected = trace.text(error, error.__traceback__)

    def refuse(*_: object) -> None:
        raise AssertionError("again")

    for name in ("format_tb", "format_exception"):
        monkeypatch.setattr(traceback, name, refuse)

    error = error_of(case)
    assert trace.text(error, error.__traceback__) == expected


def test_no_more_than_so_many_tracebacks_are_kept(monkeypatch):
    monkeypatch.setattr(trace, "_MOST_KEPT", 4)
    monkeypatch.setattr(trace, "_kept", {})

    for number in range(20):
        names: dict[str, Callable[[], object]] = {}
        exec("\n" * number + "def fail(): raise ValueError", names)
        error = error_of(names["fail"])
        assert trace.text(error, error.__traceback__)

        assert len(trace._kept) <= 4
