"""Work beside a wait: both results, and no error in a group."""

import anyio
import pytest
from anyio import fail_after

from chicory.beside import beside


async def test_the_work_is_done_while_the_answer_is_awaited():
    asked, done = anyio.Event(), anyio.Event()

    async def ask():
        asked.set()
        await done.wait()
        return "answer"

    async def work():
        assert asked.is_set()
        done.set()
        return "result"

    with fail_after(60):
        assert await beside(ask, work) == ("answer", "result")


async def test_an_error_of_the_answer_comes_by_itself_once_the_work_is_done():
    done = []

    async def ask():
        raise ValueError("no answer")

    async def work():
        done.append(True)

    with pytest.raises(ValueError, match="no answer"):
        await beside(ask, work)
    assert done


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ValueError])
@pytest.mark.parametrize("fails", [False, True])
async def test_an_error_of_the_work_comes_by_itself_once_the_answer_is_there(kind, fails):
    let, answered = anyio.Event(), []

    async def ask():
        await let.wait()
        answered.append(True)
        if fails:
            raise RuntimeError("no answer")

    async def work():
        let.set()
        raise kind("no work")

    with fail_after(60), pytest.raises(kind, match="no work"):
        await beside(ask, work)
    assert answered


async def test_who_is_cancelled_waits_for_no_answer():
    with fail_after(60), anyio.CancelScope() as scope:

        async def work():
            scope.cancel()

        await beside(anyio.sleep_forever, work)

    assert scope.cancelled_caught
