"""How the harness waits for its servers."""

import pytest

from chicory.testing.faults import servers
from chicory.testing.faults.servers import await_that


def test_who_does_not_answer_is_asked_again():
    answers = iter([ConnectionResetError(), False, True])

    def ask() -> bool:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    await_that(ask, "nobody answers")

    assert list(answers) == []


def test_what_never_comes_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(servers, "PATIENCE", 0.0)

    with pytest.raises(RuntimeError, match="no replica"):
        await_that(lambda: False, "no replica")
