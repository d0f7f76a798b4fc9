"""Transports that change, or forget, one thing when a message moves, or forget whom to wake."""

import math

from anyio import get_cancelled_exc_class
from broken_steps import another_request
from faults import caught_by
from msgspec.structs import replace

from chicory.testing.line import Place
from chicory.testing.memory import MemoryTransport
from chicory.testing.store import Store
from chicory.transport import (
    Accepted,
    Cancelled,
    Dead,
    Duplicate,
    Priority,
    Record,
    Release,
    Retry,
    Settled,
)


@caught_by("test_an_orphan_keeps_its_priority")
class RescuesWithoutPriority(Store):
    def _promote(self, now):
        for held in [held for held in self._leases if held.expires <= now]:
            held.message.priority = Priority.NORMAL
        super()._promote(now)


@caught_by("test_what_was_released_for_a_time_keeps_its_priority")
class ReleasesForATimeWithoutPriority(Store):
    def _give_back(self, message, not_before, now):
        super()._give_back(message, not_before, now)
        if message.place is Place.DELAYED:
            message.priority = Priority.NORMAL


@caught_by("test_a_renewal_is_no_delivery")
class CountsRenewals(Store):
    def renew(self, receipt, now):
        receipt.message.deliveries += 1
        return super().renew(receipt, now)


@caught_by("test_renewals_do_not_add_up")
class AddsRenewalsUp(Store):
    def renew(self, receipt, now):
        end = receipt.expires
        answer = super().renew(receipt, now)
        receipt.expires = max(end, now) + receipt.seconds
        return answer


@caught_by("test_a_duplicate_changes_nothing_of_the_message_that_is_there")
class TakesTheBodyOfADuplicate(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        if isinstance(answer, Duplicate) and publication.task_id in self._live:
            self._live[publication.task_id].body = publication.body
        return answer


@caught_by("test_a_duplicate_changes_nothing_of_the_message_that_is_there")
class MakesDueWhatIsDuplicated(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        message = self._live[publication.task_id] if isinstance(answer, Duplicate) else None
        if message and message.place is Place.DELAYED:
            self._put_back(message)
        return answer


@caught_by("test_a_duplicate_does_not_take_the_request_back")
class WantsWhatIsDuplicated(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        if isinstance(answer, Duplicate):
            self._live[publication.task_id].cancelled = False
        return answer


@caught_by("test_neither_retry_nor_release_holds_it_for_longer")
class HoldsKeysAnewOnRetry(Store):
    def settle(self, settlement, now):
        answer = super().settle(settlement, now)
        if isinstance(settlement, Retry) and answer is Settled.SETTLED:
            self._holds.by_key[settlement.receipt.message.key].until = now + 100
        return answer


@caught_by("test_neither_retry_nor_release_holds_it_for_longer")
class HoldsKeysAnewOnRelease(Store):
    def _give_back(self, message, not_before, now):
        super()._give_back(message, not_before, now)
        self._holds.by_key[message.key].until = now + 100


@caught_by("test_that_of_a_follow_up_is_free_when_its_ttl_is_over")
class HoldsKeysOfFollowUpsForEver(Store):
    def _append(self, settlement, now):
        super()._append(settlement, now)
        for publication in settlement.follow_ups:
            self._holds.by_key[publication.unique.key].until = math.inf


@caught_by("test_that_of_a_settlement_or_cancellation_has_its_ttl")
class KeepsRecordsOfSettlements(Store):
    def _append(self, settlement, now):
        kept = settlement.record and replace(settlement.record, ttl=1e9)
        super()._append(replace(settlement, record=kept), now)


@caught_by("test_that_of_a_settlement_or_cancellation_has_its_ttl")
class KeepsRecordsOfCancellations(Store):
    def cancel(self, record, now):
        return super().cancel(replace(record, ttl=1e9), now)


@caught_by("test_that_of_a_settlement_or_cancellation_has_its_ttl")
class TellsWhatIsOver(Store):
    def __init__(self):
        super().__init__()
        watch = self.records.watch
        self.records.watch = lambda task_ids, watcher, _: watch(task_ids, watcher, 0)


@caught_by("test_the_last_one_of_a_batch_counts")
class StoresBackwards(MemoryTransport):
    async def store(self, records):
        await super().store(records[::-1])


@caught_by("test_a_publication_leaves_it")
class ForgetsRecordsOfWhatIsPublished(Store):
    def publish(self, publication, now):
        self.records.put(Record(publication.task_id, None, 0), now)
        return super().publish(publication, now)


@caught_by("test_those_of_retries_and_dead_letters_are_heard")
class TellsNobodyOfRetries(Store):
    def _append(self, settlement, now):
        watchers = self.records._watchers
        if isinstance(settlement, Retry):
            self.records._watchers = {}
        super()._append(settlement, now)
        self.records._watchers = watchers


@caught_by("test_it_waits_for_longer_than_a_lease")
class WaitsForALeaseAtMost(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        return await super().fetch(queues, limit, min(wait, self._settings.lease))


@caught_by("test_what_was_given_back_is_not_settled_again")
class SettlesWhatWasGivenBack(Store):
    def _give_back(self, message, not_before, now):
        held = message.held
        super()._give_back(message, not_before, now)
        message.held = held


@caught_by("test_what_was_given_back_is_not_settled_again")
class GivesBackTwice(Store):
    def settle(self, settlement, now):
        message = settlement.receipt.message
        is_back = message.held is None and self._live.get(message.task_id) is message
        if isinstance(settlement, Release) and is_back:
            return Settled.SETTLED
        return super().settle(settlement, now)


class ServesSomeOfPausedQueues(Store):
    def __init__(self):
        super().__init__()
        self.served = set()

    def take(self, queues, *args):
        lines = [self.line(queue) for queue in queues]
        paused = [line.paused for line in lines]
        for line in lines:
            ready = [message for level in line.levels for message in level.all()]
            line.paused &= not any(message.task_id in self.served for message in ready)
        taken = super().take(queues, *args)
        for line, was_paused in zip(lines, paused, strict=True):
            line.paused = was_paused
        return taken


@caught_by("test_what_comes_back_stays_until_it_is_resumed")
class ServesRetriesOfPausedQueues(ServesSomeOfPausedQueues):
    def settle(self, settlement, now):
        if isinstance(settlement, Retry):
            self.served.add(settlement.publication.task_id)
        return super().settle(settlement, now)


@caught_by("test_what_comes_back_stays_until_it_is_resumed")
class ServesWhatCameBackToPausedQueues(ServesSomeOfPausedQueues):
    def _give_back(self, message, not_before, now):
        self.served.add(message.task_id)
        super()._give_back(message, not_before, now)


@caught_by("test_a_queue_that_was_emptied_stays_paused")
class ResumesWhatIsEmpty(Store):
    def settle(self, settlement, now):
        answer = super().settle(settlement, now)
        line = settlement.receipt.message.line
        line.paused &= bool(line.ready + line.delayed + line.leased)
        return answer


@caught_by("test_a_letter_may_differ_from_its_message")
class BuriesTheMessageItself(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Dead):
            message = settlement.receipt.message
            own = replace(settlement.letter, queue=message.line.name, body=message.body)
            settlement = replace(settlement, letter=own)
        return super().settle(settlement, now)


@caught_by("test_a_replay_publishes_what_it_is_given")
class ReplaysTheLetterItself(Store):
    def replay(self, letter_id, publication, now):
        letter = self.letters.get(letter_id)
        again = replace(publication, queue=letter.queue, body=letter.body)
        return super().replay(letter_id, again, now)


@caught_by("test_a_replay_publishes_what_it_is_given")
class ReplaysAtOnce(Store):
    def replay(self, letter_id, publication, now):
        return super().replay(letter_id, replace(publication, not_before=0), now)


@caught_by("test_a_letter_stays_while_its_call_lives")
class LosesLettersOfLivingCalls(Store):
    def replay(self, letter_id, publication, now):
        lives = publication.task_id in self._live
        answer = super().replay(letter_id, publication, now)
        if lives:
            self.letters.pop(letter_id)
        return answer


@caught_by("test_it_is_discarded_once")
class DiscardsTwice(MemoryTransport):
    async def discard(self, letter_ids):
        there = [letter is not None for letter in await self.find_dead(letter_ids)]
        await super().discard(letter_ids)
        return there


@caught_by("test_one_that_is_absent_stops_none_of_the_others")
class StopsAtWhatIsAbsent(MemoryTransport):
    async def cancel(self, records):
        answers = []
        for record in records:
            if Cancelled.ABSENT in answers:
                answers.append(Cancelled.ABSENT)
            else:
                answers += await super().cancel([record])
        return answers


@caught_by("test_a_retry_that_nobody_wants_has_its_record_and_follow_ups")
class HasNoFollowUpsOfWhatNobodyWants(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Retry) and settlement.receipt.message.cancelled:
            settlement = replace(settlement, follow_ups=())
        return super().settle(settlement, now)


class GivesBackWhatACancelledFetchHas(MemoryTransport):
    async def fetch(self, queues, limit, wait):
        taken = await super().fetch(queues, limit, wait)
        try:
            await another_request()
        except get_cancelled_exc_class():
            with self._store.lock:
                for delivery in taken:
                    self._give_back(delivery.receipt.message)
                woken = self._store.pop_woken()
            for signal in woken:
                self._wake(signal)
            raise
        return taken

    def _give_back(self, message):
        self._store._give_back(message, 0, 0)

    def _wake(self, signal):
        signal.notify()


@caught_by("test_a_cancelled_fetch_counts_no_delivery_and_changes_no_order")
class CountsCancelledFetches(GivesBackWhatACancelledFetchHas):
    def _give_back(self, message):
        super()._give_back(message)
        message.deliveries += 1


@caught_by("test_a_cancelled_fetch_counts_no_delivery_and_changes_no_order")
class PutsWhatACancelledFetchHadLast(GivesBackWhatACancelledFetchHas):
    def _give_back(self, message):
        message.position = self._store._next()
        super()._give_back(message)


@caught_by("test_what_a_cancelled_fetch_leaves_wakes_another_that_waits")
class WakesNobodyForWhatACancelledFetchHad(GivesBackWhatACancelledFetchHas):
    def _wake(self, signal):
        pass


@caught_by("test_a_new_heartbeat_tells_of_other_queues")
class KeepsTheFirstQueues(MemoryTransport):
    async def beat(self, record, ttl):
        before = self._store.heartbeats.by_worker.get(record.worker_id, record)
        await super().beat(replace(record, queues=before.queues), ttl)


@caught_by("test_what_comes_back_at_once_wakes_a_fetch")
class WakesNobodyForReleases(Store):
    def _give_back(self, message, not_before, now):
        super()._give_back(message, not_before, now)
        self._woken.clear()


@caught_by("test_what_comes_back_at_once_wakes_a_fetch")
class WakesNobodyForLowPriorities(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        if publication.priority is Priority.LOW and answer == Accepted():
            self._woken.clear()
        return answer


@caught_by("test_what_comes_back_later_wakes_a_fetch_by_the_time_alone")
class MindsNoTimeOfWhatCameBack(Store):
    def next_change(self):
        due = (message.due for message in self._agenda if self._came_first(message))
        return min(min(due, default=math.inf), self._leases.next_end())

    def _came_first(self, message):
        return message.position <= 1


@caught_by("test_what_nobody_wants_wakes_a_fetch_at_once")
class WakesNobodyForWhatNobodyWants(Store):
    def settle(self, settlement, now):
        unwanted = settlement.receipt.message.cancelled
        answer = super().settle(settlement, now)
        if unwanted:
            self._woken.clear()
        return answer


@caught_by("test_an_orphan_wakes_a_fetch_whatever_became_of_its_lease")
class MindsNoEndOfALeaseThatNobodyWants(Store):
    def next_change(self):
        ends = (held.expires for held in self._leases if not held.message.cancelled)
        return min(self._agenda.next_due(), min(ends, default=math.inf))
