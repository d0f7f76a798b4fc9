"""What many calls leave behind: nothing."""

from __future__ import annotations

import pytest
from soak import Soak


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("transport", ["sqlite", "redis", "nats"])
async def test_calls_leave_nothing_behind(tmp_path, no_settings, transport):
    soaked = await Soak(transport, tmp_path, 6000).run()

    assert soaked.failures == []
    assert soaked.letters == soaked.failing
    for what, count in soaked.left_after.items():  # but for the producers, which are gone
        assert count <= soaked.left_before.get(what, 0), soaked
    for before, after in zip(soaked.sizes_before, soaked.sizes_after, strict=True):
        assert after.files <= before.files, soaked
        assert after.megabytes < before.megabytes + 15, soaked
