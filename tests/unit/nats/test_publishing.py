"""A message whose guard does not hold, since others store and settle the same id."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import QUEUE, done, give, message
from chicory.transport import PublishOutcome
from chicory_nats.intents import Intent
from chicory_nats.publishing import _ROUNDS, Publisher


async def test_a_call_that_changes_whenever_it_was_read_is_not_tried_for_without_end(
    connect, monkeypatch
):
    here = await connect()
    await here.settle([done(one) for one in await give(here, "1")])
    space = here._space
    publisher = space.publisher
    rival = Publisher(space.session, publisher._registry, publisher._ballast)
    overtaken = 0

    async def judge(intents: Sequence[Intent]) -> list[PublishOutcome | None]:
        nonlocal overtaken
        overtaken += 1
        assert overtaken <= _ROUNDS, "it is tried without end"
        judged = await Publisher.judge(publisher, intents)
        await rival.publish([message("1")])
        await space.settler.settle([done(one) for one in await space.fetcher.fetch([QUEUE], 1, 0)])
        return judged

    monkeypatch.setattr(publisher, "judge", judge)

    with pytest.raises(BrokerConnectionError, match="call 1 was not enqueued"):
        await here.publish([message("1")])
    assert overtaken == _ROUNDS
