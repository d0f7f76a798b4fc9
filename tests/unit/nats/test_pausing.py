"""A queue that is resumed by somebody who dies while he does so."""

from __future__ import annotations

import pytest

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import QUEUE, ids, message, take
from chicory_nats.consumers import Consumers


async def _die(*_: object) -> None:
    raise BrokerConnectionError("killed")


async def test_a_queue_whose_resume_was_cut_short_is_said_to_be_paused(connect, monkeypatch):
    here = await connect()
    await here.set_paused(QUEUE, paused=True)
    await here.publish([message("1")])

    with monkeypatch.context() as patch:
        patch.setattr(Consumers, "pause", _die)
        with pytest.raises(BrokerConnectionError, match="killed"):
            await here.set_paused(QUEUE, paused=False)
    assert (await here.counts([QUEUE]))[QUEUE].paused

    await here.set_paused(QUEUE, paused=False)
    assert not (await here.counts([QUEUE]))[QUEUE].paused
    assert ids(await take(here)) == ["1"]
