"""Transports that do in several steps what must be one, or forget somebody between two."""

from contextlib import suppress

from anyio import CancelScope, Event, get_cancelled_exc_class, sleep
from anyio.lowlevel import checkpoint
from faults import caught_by
from msgspec.structs import replace

from chicory.errors import BrokerConnectionError
from chicory.loop import spawn
from chicory.testing.holds import Hold
from chicory.testing.memory import MemoryTransport
from chicory.transport import (
    Abilities,
    Accepted,
    Counts,
    Delivery,
    Done,
    Duplicate,
    Retry,
    Settled,
)


async def another_request() -> None:
    """What passes between two requests to a broker: others get their answers meanwhile."""
    for _ in range(5):
        await checkpoint()


@caught_by("test_a_duplicate_stops_none_of_the_others")
class StopsAtADuplicate(MemoryTransport):
    async def publish(self, publications):
        outcomes = []
        for publication in publications:
            if isinstance((outcomes or [None])[-1], Duplicate):
                outcomes.append(Duplicate(publication.task_id))
            else:
                outcomes += await super().publish([publication])
        return outcomes


@caught_by("test_an_interrupted_publish_is_whole_or_not_begun")
class TakesTheKeyFirst(MemoryTransport):
    async def publish(self, publications):
        holds = self._store._holds.by_key
        taken = {
            one.unique.key: Hold(one.task_id, float("inf"))
            for one in publications
            if one.unique and one.unique.key not in holds
        }
        holds |= taken
        await another_request()
        for key in taken:
            del holds[key]
        return await super().publish(publications)


@caught_by("test_an_interrupted_publish_is_whole_or_not_begun")
class TakesTheIdFirst(MemoryTransport):
    async def publish(self, publications):
        ids = self._store.__dict__.setdefault("ids", set())
        again = [one.task_id in ids or one.task_id in self._store._live for one in publications]
        ids.update(one.task_id for one in publications)
        await another_request()
        new = [one for one, known in zip(publications, again, strict=True) if not known]
        outcomes = iter(await super().publish(new))
        return [
            Duplicate(one.task_id) if known else next(outcomes)
            for one, known in zip(publications, again, strict=True)
        ]


@caught_by(
    "test_of_many_who_publish_one_id_one_is_accepted",
    "test_of_many_who_publish_one_key_one_is_accepted",
)
class LooksBeforeItPublishes(MemoryTransport):
    async def publish(self, publications):
        store = self._store
        free = [
            one.task_id not in store._live
            and not (one.unique and one.unique.key in store._holds.by_key)
            for one in publications
        ]
        await another_request()
        outcomes = await super().publish(publications)
        return [Accepted() if was else now for was, now in zip(free, outcomes, strict=True)]


@caught_by(
    "test_each_message_is_leased_to_one_of_many_fetchers",
    "test_nothing_is_lost_or_doubled_between_producers_and_consumers",
)
class LooksBeforeItLeases(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        lines = [self._store.line(queue) for queue in queues]
        seen = [one for line in lines for level in line.levels for one in level.all()][:limit]
        await another_request()
        stolen = [message for message in seen if message.held]
        if not stolen:
            return await super().fetch(queues, limit, wait)
        return [
            Delivery(one.line.name, one.task_id, one.body, one.priority, 1, one.held)
            for one in stolen
        ]


@caught_by(
    "test_a_cancelled_fetch_keeps_nothing",
    "test_fetches_cancelled_while_messages_come_leak_none",
)
class LeaksWhatItFetched(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        taken = await super().fetch(queues, limit, wait)
        await checkpoint()
        return taken


@caught_by(
    "test_a_cancelled_wait_keeps_nothing",
    "test_a_message_that_a_cancelled_fetch_left_wakes_the_next_one",
)
class LeavesItsRequestWithTheBroker(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        fetch = super().fetch

        async def wait_on():
            with suppress(BrokerConnectionError):
                await fetch(queues, limit, wait)

        try:
            return await fetch(queues, limit, wait)
        except get_cancelled_exc_class():
            spawn(wait_on)
            raise


@caught_by("test_a_cancelled_fetch_keeps_nothing")
class LeasesWhenItIsCancelled(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        try:
            await checkpoint()
            return await super().fetch(queues, limit, wait)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await super().fetch(queues, limit, 0)
            raise


@caught_by(
    "test_a_waiting_fetch_asks_nothing",
    "test_a_waiting_fetch_asks_nothing_of_a_full_queue_that_is_paused",
)
class PollsOften(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        while not (taken := await super().fetch(queues, limit, 0)) and wait:
            await sleep(0.03)
        return taken


@caught_by("test_messages_are_answered_at_once")
class PollsSeldom(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        while not (taken := await super().fetch(queues, limit, 0)) and wait:
            await sleep(0.2)
        return taken


@caught_by("test_a_waiting_fetch_asks_nothing")
class PollsByTheClock(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        end = self._clock.now() + wait
        while not (taken := await super().fetch(queues, limit, 0)) and self._clock.now() < end:
            await self._clock.wait(Event(), min(end, self._clock.now() + 0.01))
        return taken


class PollsForRecords(MemoryTransport):
    every: float

    async def watch(self, task_ids, sink):
        async def poll():
            with suppress(BrokerConnectionError):
                heard = {}
                while True:
                    standings = await self.look_up(tuple(task_ids))
                    for task_id, standing in zip(task_ids, standings, strict=True):
                        if standing.record not in (None, heard.get(task_id)):
                            heard[task_id] = standing.record
                            sink(task_id, standing.record)
                    await sleep(self.every)

        spawn(poll)


@caught_by("test_a_watch_asks_nothing")
class PollsForRecordsOften(PollsForRecords):
    every = 0.03


@caught_by("test_records_are_heard_at_once")
class PollsForRecordsSeldom(PollsForRecords):
    every = 0.2


@caught_by("test_an_empty_answer_comes_when_the_wait_is_over")
class WaitsForEver(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        return await super().fetch(queues, limit, wait and float("inf"))


@caught_by(
    "test_the_message_is_there_at_every_moment",
    "test_an_interrupted_retry_leaves_one_message",
    "test_an_interrupted_settlement_is_whole_or_not_begun",
)
class RemovesBeforeItRetries(MemoryTransport):
    async def settle(self, settlements):
        return [await self._settle(settlement) for settlement in settlements]

    async def _settle(self, settlement):
        if not isinstance(settlement, Retry):
            return (await super().settle([settlement]))[0]
        done = Done(settlement.receipt, settlement.record, settlement.follow_ups)
        (answer,) = await super().settle([done])
        await another_request()
        if answer is Settled.SETTLED:
            await super().publish([settlement.publication])
        return answer


@caught_by(
    "test_a_record_is_read_no_sooner_than_all_else_is_done",
    "test_when_one_is_heard_its_settlement_is_over",
    "test_an_interrupted_settlement_is_whole_or_not_begun",
)
class RecordsBeforeItSettles(MemoryTransport):
    async def settle(self, settlements):
        await super().store([one.record for one in settlements if getattr(one, "record", None)])
        await another_request()
        return await super().settle(settlements)


@caught_by(
    "test_a_record_is_read_no_sooner_than_all_else_is_done",
    "test_when_one_is_heard_its_settlement_is_over",
)
class FollowsUpAfterItSettled(MemoryTransport):
    async def settle(self, settlements):
        bare = [
            replace(one, follow_ups=()) if hasattr(one, "follow_ups") else one
            for one in settlements
        ]
        answers = await super().settle(bare)
        for one, answer in zip(settlements, answers, strict=True):
            if answer is Settled.SETTLED and getattr(one, "follow_ups", ()):
                await another_request()
                await self.publish(one.follow_ups)
        return answers


@caught_by(
    "test_a_fenced_settlement_stops_none_of_the_others",
)
class StopsAtAFence(MemoryTransport):
    async def settle(self, settlements):
        answers = []
        for settlement in settlements:
            if Settled.FENCED in answers:
                answers.append(Settled.FENCED)
            else:
                answers += await super().settle([settlement])
        return answers


@caught_by("test_answers_come_in_the_order_of_the_receipts")
class SortsItsAnswers(MemoryTransport):
    async def renew(self, receipts):
        return sorted(await super().renew(receipts), key=lambda lease: lease.value)


@caught_by("test_answers_come_in_the_order_of_the_ids")
class AnswersByTheSortedId(MemoryTransport):
    async def look_up(self, task_ids):
        return await super().look_up(sorted(task_ids))


@caught_by(
    "test_the_call_is_somewhere_at_every_moment_of_a_replay",
    "test_an_interrupted_replay_is_whole_or_not_begun",
)
class ReplaysInTwoSteps(MemoryTransport):
    async def replay(self, items):
        found = await super().discard([letter_id for letter_id, _ in items])
        await another_request()
        await super().publish([one for (_, one), there in zip(items, found, strict=True) if there])
        return found


@caught_by("test_of_two_replays_one_publishes")
class LooksBeforeItReplays(MemoryTransport):
    async def replay(self, items):
        found = await super().find_dead([letter_id for letter_id, _ in items])
        await another_request()
        await super().publish([one for (_, one), there in zip(items, found, strict=True) if there])
        await super().discard([letter_id for letter_id, _ in items])
        return [there is not None for there in found]


@caught_by("test_a_replay_that_is_sent_again_doubles_nothing")
class KeepsReplayedLetters(MemoryTransport):
    async def replay(self, items):
        await super().publish([publication for _, publication in items])
        return [True] * len(items)


@caught_by("test_an_interrupted_cancel_is_whole_or_not_begun")
class RecordsBeforeItCancels(MemoryTransport):
    async def cancel(self, records):
        await self.store([one for one in records if one.task_id in self._store._live])
        await another_request()
        return await super().cancel(records)


@caught_by("test_none_is_missed_between_the_look_and_the_wait")
class LooksBeforeItWatches(MemoryTransport):
    async def watch(self, task_ids, sink):
        standings = await self.look_up(tuple(task_ids))
        await another_request()
        watcher = self._watcher
        watcher.add(task_ids, sink)
        for task_id, standing in zip(task_ids, standings, strict=True):
            self._store.records._watchers.setdefault(task_id, []).append(watcher)
            if standing.record is not None:
                watcher.push(task_id, standing.record)


@caught_by("test_what_is_stored_already_is_heard", "test_thousands_are_watched_at_once")
class LooksNotBeforeItWatches(MemoryTransport):
    async def watch(self, task_ids, sink):
        watcher = self._watcher
        watcher.add(task_ids, sink)
        for task_id in task_ids:
            self._store.records._watchers.setdefault(task_id, []).append(watcher)


@caught_by("test_who_unwatches_hears_no_more")
class KeepsTelling(MemoryTransport):
    def unwatch(self, task_ids):
        pass


@caught_by("test_what_is_stored_later_is_heard")
class TellsOnce(MemoryTransport):
    async def watch(self, task_ids, sink):
        def once(task_id, body):
            self.unwatch([task_id])
            sink(task_id, body)

        await super().watch(task_ids, once)


@caught_by("test_nothing_is_counted_twice_or_missed_while_it_moves")
class CountsInTwoSteps(MemoryTransport):
    async def counts(self, queues=None):
        first = await super().counts(queues)
        second = await super().counts(queues)
        return {
            queue: Counts(
                first.get(queue, counted).ready,
                counted.delayed,
                counted.leased,
                counted.dead,
                counted.paused,
            )
            for queue, counted in second.items()
        }


@caught_by(
    "test_messages_stay_in_their_namespace",
    "test_leases_records_letters_pauses_and_workers_stay_in_their_namespace",
)
class IgnoresTheNamespace(MemoryTransport):
    def __init__(self, settings, store=None):
        super().__init__(replace(settings, namespace="one"), store)


@caught_by("test_a_waiting_fetch_ends_with_an_error_when_closed")
class LeavesWaitersAlone(MemoryTransport):
    async def close(self):
        self._is_open = False


@caught_by("test_every_verb_fails_after_close")
class WorksAfterClose(MemoryTransport):
    async def close(self):
        pass


@caught_by("test_a_clone_is_a_connection_of_its_own")
class ClosesItsClones(MemoryTransport):
    def clone(self):
        return self


@caught_by("test_messages_outlive_the_broker", "test_settlements_outlive_the_broker")
class PromisesDurability(MemoryTransport):
    abilities = Abilities(shared=False, cross_process=True, durable=True)


@caught_by("test_the_abilities_agree_with_each_other")
class PromisesTheImpossible(MemoryTransport):
    abilities = Abilities(shared=True, cross_process=False, durable=False)


@caught_by("test_a_new_heartbeat_replaces_the_one_before")
class KeepsTheFirstHeartbeat(MemoryTransport):
    async def beat(self, record, ttl):
        if record.worker_id not in self._store.heartbeats.by_worker:
            await super().beat(record, ttl)


@caught_by("test_no_more_than_the_limit_is_fetched")
class IgnoresTheLimit(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        return await super().fetch(queues, 100, wait)
