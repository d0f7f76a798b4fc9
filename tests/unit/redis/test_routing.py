"""Which server is connected to. It lives on asyncio, under trio too."""

import asyncio

import pytest
from anyio import fail_after

from chicory_redis.address import Node, parse
from chicory_redis.routing import route_to

ADDRESS = parse("redis+sentinel://a,b,c/shop")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


async def test_a_sentinel_that_does_not_answer_keeps_nobody_waiting():
    asked, cancelled = set(), set()

    async def ask(sentinel: Node, *_command: str) -> list[bytes]:
        asked.add(sentinel.host)
        if sentinel.host == "c":
            return [b"master", b"7000"]
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.add(sentinel.host)
            raise

    with fail_after(60):
        assert await route_to(ADDRESS).nodes(ask) == [Node("master", 7000)]

    assert asked == {"a", "b", "c"}
    assert cancelled == {"a", "b"}


async def test_sentinels_that_know_no_master_say_why():
    async def ask(sentinel: Node, *_command: str) -> list[bytes] | None:
        if sentinel.host == "b":
            return None
        raise TimeoutError if sentinel.host == "a" else OSError("refused")

    words = "no sentinel names the master: a:26379: TimeoutError; b:26379 knows no 'shop'; "
    with pytest.raises(ConnectionError, match=words + "c:26379: refused$"):
        await route_to(ADDRESS).nodes(ask)
