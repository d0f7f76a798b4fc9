"""Transports whose steps are atomic and wrong."""

from faults import caught_by
from msgspec.structs import replace

from chicory.testing.holds import Hold
from chicory.testing.line import HeldLease, Place
from chicory.testing.store import Store
from chicory.transport import (
    Accepted,
    Cancelled,
    Dead,
    Duplicate,
    Lease,
    Priority,
    Release,
    Retry,
    Settled,
)


@caught_by(
    "test_after_a_lost_lease_every_outcome_is_fenced_out_whole",
    "test_a_fenced_settlement_leaves_the_new_lease_alone",
    "test_it_is_lost_to_whoever_fetched_the_message_since",
    "test_none_is_published_by_a_settlement_that_is_fenced_out",
)
class AcceptsLateSettlements(Store):
    def _valid(self, receipt):
        message = receipt.message
        return message.held if self._live.get(message.task_id) is message else None


@caught_by("test_a_settlement_that_is_sent_again_is_fenced_out")
class SettlesWhatIsGone(Store):
    def settle(self, settlement, now):
        task_id = settlement.receipt.message.task_id
        if task_id in self._live or isinstance(settlement, Release):
            return super().settle(settlement, now)
        self._append(settlement, now)
        return Settled.SETTLED


@caught_by(
    "test_a_retry_that_is_sent_again_is_fenced_out",
    "test_a_call_published_again_is_safe_from_the_receipt_of_the_first",
    "test_it_is_lost_also_where_the_same_connection_fetched_it_since",
)
class KnowsReceiptsByCall(Store):
    def _valid(self, receipt):
        message = self._live.get(receipt.message.task_id)
        return message and message.held


@caught_by("test_a_renewed_lease_outlives_its_first_end")
class DoesNotExtendLeases(Store):
    def renew(self, receipt, now):
        return Lease.LOST if self._valid(receipt) is None else Lease.HELD


@caught_by("test_renewing_one_lease_extends_no_other")
class ExtendsAllLeases(Store):
    def renew(self, receipt, now):
        for held in self._leases:
            held.expires = now + held.seconds
        return super().renew(receipt, now)


@caught_by(
    "test_it_is_held_again_where_nobody_took_the_message_since",
    "test_it_is_held_again_where_another_message_was_taken",
)
class ForgetsLeasesThatRanOut(Store):
    def _make_ready(self, message):
        super()._make_ready(message)
        message.held = None


@caught_by(
    "test_an_orphan_is_fetched_when_its_lease_is_over_and_no_sooner",
    "test_a_crowd_of_orphans_is_rescued_whole",
)
class RescuesNobody(Store):
    def _promote(self, now):
        for message in self._agenda.pop_due(now):
            self._place(message, 0, now)


@caught_by(
    "test_a_fetch_that_waits_gets_it_without_any_traffic",
    "test_a_fetch_that_began_before_the_lease_did_gets_it_too",
)
class RescuesWhenThereIsTraffic(Store):
    def next_change(self):
        return self._agenda.next_due()


@caught_by("test_an_orphan_is_fetched_when_its_lease_is_over_and_no_sooner")
class RescuesTooEarly(Store):
    def take(self, queues, limit, lease, now, waiter):
        return super().take(queues, limit, lease / 2, now, waiter)


@caught_by("test_an_orphan_keeps_its_place", "test_what_was_released_keeps_its_place")
class PutsOrphansLast(Store):
    def _make_ready(self, message):
        message.position = self._next()
        super()._make_ready(message)


@caught_by("test_a_retry_goes_to_the_end")
class PutsRetriesFirst(Store):
    def settle(self, settlement, now):
        answer = super().settle(settlement, now)
        if isinstance(settlement, Retry) and answer is Settled.SETTLED:
            message = self._live[settlement.publication.task_id]
            self._unplace(message)
            message.position = 0
            message.line.levels[-1 - message.priority].add(message)
        return answer


@caught_by("test_each_lost_delivery_is_counted", "test_its_deliveries_begin_at_one_again")
class DoesNotCountDeliveries(Store):
    def take(self, *args):
        return [replace(delivery, deliveries=1) for delivery in super().take(*args)]


@caught_by(
    "test_a_released_message_is_there_at_once_and_was_not_delivered",
    "test_a_release_takes_back_one_delivery_of_many",
)
class CountsReleases(Store):
    def _give_back(self, message, not_before, now):
        super()._give_back(message, not_before, now)
        message.deliveries += 1


@caught_by("test_its_deliveries_begin_at_one_again")
class CountsOnOverARetry(Store):
    def settle(self, settlement, now):
        before = settlement.receipt.message.deliveries
        answer = super().settle(settlement, now)
        if isinstance(settlement, Retry) and answer is Settled.SETTLED:
            self._live[settlement.publication.task_id].deliveries = before
        return answer


@caught_by("test_a_released_message_can_wait_for_a_time")
class ReleasesAtOnce(Store):
    def _give_back(self, message, not_before, now):
        super()._give_back(message, 0, now)


@caught_by(
    "test_it_is_fetched_at_its_time_and_no_sooner",
    "test_it_does_not_hold_up_what_is_ready",
)
class IgnoresDelays(Store):
    def _place(self, message, not_before, now):
        super()._place(message, 0, now)


@caught_by(
    "test_it_is_fetched_at_its_time_and_no_sooner",
    "test_a_fetch_that_waits_is_woken_by_the_time_alone",
)
class RoundsDelays(Store):
    def _place(self, message, not_before, now):
        super()._place(message, not_before - 0.9, now)


@caught_by(
    "test_a_fetch_that_waits_is_woken_by_the_time_alone",
    "test_an_earlier_one_is_not_kept_by_a_later_one",
)
class WakesNobodyForDelays(Store):
    def _place(self, message, not_before, now):
        hungry, woken = dict(message.line.hungry), dict(self._woken)
        super()._place(message, not_before, now)
        if not_before > now:
            message.line.hungry, self._woken = hungry, woken


@caught_by(
    "test_a_higher_priority_goes_first_however_late_it_came",
    "test_a_higher_priority_goes_first_one_fetch_at_a_time",
    "test_when_due_it_goes_by_its_priority",
)
class HasOnePriority(Store):
    def _enter(self, publication, key, now):
        return super()._enter(replace(publication, priority=Priority.NORMAL), key, now)


@caught_by("test_queues_are_served_in_the_order_asked_for")
class SortsQueues(Store):
    def take(self, queues, *args):
        return super().take(sorted(queues), *args)


@caught_by("test_a_large_batch_is_stored_in_order", "test_ids_are_kept_apart")
class GivesTheLastFirst(Store):
    def _place(self, message, not_before, now):
        super()._place(message, not_before, now)
        if message.place is Place.READY:
            self._unplace(message)
            message.position = -message.position
            message.line.levels[-1 - message.priority].add(message)


@caught_by(
    "test_a_key_that_is_held_makes_a_duplicate",
    "test_one_of_a_batch_with_one_key_is_accepted",
    "test_of_many_who_publish_one_key_one_is_accepted",
    "test_keys_are_kept_apart",
)
class IgnoresKeys(Store):
    def publish(self, publication, now):
        return super().publish(replace(publication, unique=None), now)


@caught_by("test_a_duplicate_by_its_id_takes_no_key")
class TakesKeysForDuplicates(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        if publication.unique and publication.unique.key not in self._holds.by_key:
            self._holds.by_key[publication.unique.key] = Hold(publication.task_id, now + 1e6)
        return answer


@caught_by(
    "test_it_is_free_once_the_message_is_done_or_dead",
    "test_it_is_free_once_the_message_is_cancelled_or_purged",
)
class KeepsKeys(Store):
    def _finish(self, message):
        self._remove(message)


@caught_by("test_it_is_kept_over_a_retry", "test_it_is_kept_over_a_retry_that_names_it_again")
class FreesKeysOnRetry(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Retry):
            self._holds.by_key.pop(settlement.receipt.message.key, None)
        return super().settle(settlement, now)


@caught_by("test_it_is_held_while_leased_orphaned_released_or_delayed")
class FreesKeysOnRelease(Store):
    def _give_back(self, message, not_before, now):
        self._holds.by_key.pop(message.key, None)
        super()._give_back(message, not_before, now)


@caught_by("test_a_message_that_outlived_its_key_does_not_free_the_next_holder")
class FreesKeysOfOthers(Store):
    def _finish(self, message):
        super()._finish(message)
        self._holds.by_key.pop(message.key, None)


@caught_by("test_it_is_free_when_its_ttl_is_over")
class KeepsKeysBeyondTheirTime(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        for hold in self._holds.by_key.values():
            hold.until = now + 1e6
        return answer


@caught_by("test_an_id_is_taken_while_its_message_is_delayed_or_leased")
class ForgetsIdsOfLeasedMessages(Store):
    def publish(self, publication, now):
        message = self._live.get(publication.task_id)
        if message is not None and message.place is Place.LEASED:
            del self._live[publication.task_id]
        return super().publish(publication, now)


@caught_by("test_a_batch_that_is_sent_again_doubles_nothing")
class ReplacesDuplicates(Store):
    def publish(self, publication, now):
        message = self._live.get(publication.task_id)
        if message is not None:
            self._finish(message)
        return super().publish(publication, now)


@caught_by("test_a_duplicate_leaves_its_id_free", "test_one_of_a_batch_with_one_key_is_accepted")
class NamesTheWrongDuplicate(Store):
    def publish(self, publication, now):
        answer = super().publish(publication, now)
        if answer != Accepted():
            self._enter(replace(publication, queue="rejected"), None, now)
            return Duplicate(publication.task_id)
        return answer


@caught_by(
    "test_nothing_is_fetched_from_a_paused_queue",
    "test_other_queues_are_served",
    "test_orphans_and_due_messages_stay_until_it_is_resumed",
)
class ServesPausedQueues(Store):
    def take(self, queues, *args):
        lines = [self.line(queue) for queue in queues]
        paused = [line.paused for line in lines]
        for line in lines:
            line.paused = False
        taken = super().take(queues, *args)
        for line, was_paused in zip(lines, paused, strict=True):
            line.paused = was_paused
        return taken


@caught_by("test_a_waiting_fetch_is_not_answered_while_paused_and_is_by_the_resume")
class WakesNobodyOnResume(Store):
    def set_paused(self, queue, paused):
        self.line(queue).paused = paused


@caught_by("test_leased_messages_go_on")
class StopsLeasesOnPause(Store):
    def _valid(self, receipt):
        return None if receipt.message.line.paused else super()._valid(receipt)


@caught_by(
    "test_a_leased_message_stays_with_its_worker",
    "test_the_worker_of_a_leased_message_is_told_when_it_renews",
    "test_a_message_is_cancelled_or_fetched_and_not_both",
)
class CancelsLeasedMessages(Store):
    def cancel(self, record, now):
        message = self._live.get(record.task_id)
        if message is None:
            return Cancelled.ABSENT
        self._finish(message)
        self.records.put(record, now)
        return Cancelled.REMOVED


@caught_by("test_the_next_worker_is_told_where_the_first_one_vanished")
class ForgetsCancelsOfOrphans(Store):
    def _make_ready(self, message):
        super()._make_ready(message)
        message.cancelled = False


@caught_by("test_the_worker_of_a_leased_message_is_told_when_it_renews")
class TellsOfACancelOnce(Store):
    def renew(self, receipt, now):
        answer = super().renew(receipt, now)
        if answer is Lease.CANCEL_REQUESTED:
            receipt.message.cancelled = False
        return answer


@caught_by(
    "test_a_retry_that_nobody_wants_does_not_wait",
    "test_what_was_not_cancelled_waits_for_its_retry",
)
class LetsUnwantedRetriesWait(Store):
    def settle(self, settlement, now):
        held = self._valid(settlement.receipt)
        unwanted = isinstance(settlement, Retry) and held and held.message.cancelled
        if not unwanted:
            return super().settle(settlement, now)
        held.message.cancelled = False
        answer = super().settle(settlement, now)
        self._live[held.message.task_id].cancelled = True
        return answer


@caught_by("test_what_is_given_back_and_nobody_wants_does_not_wait")
class LetsUnwantedReleasesWait(Store):
    def _give_back(self, message, not_before, now):
        unwanted, message.cancelled = message.cancelled, False
        super()._give_back(message, not_before, now)
        message.cancelled = unwanted


@caught_by("test_what_was_not_cancelled_waits_for_its_retry")
class MakesEveryRetryDueOnceOneIsUnwanted(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Retry) and any(one.cancelled for one in self._live.values()):
            at_once = replace(settlement.publication, not_before=0)
            settlement = replace(settlement, publication=at_once)
        return super().settle(settlement, now)


@caught_by(
    "test_the_next_worker_is_told_where_the_first_one_vanished",
    "test_a_retry_that_nobody_wants_does_not_wait",
    "test_a_retry_that_nobody_wants_is_no_more_wanted_by_its_second_worker",
    "test_what_is_given_back_and_nobody_wants_does_not_wait",
)
class KeepsACancelFromWhoFetches(Store):
    def take(self, *args):
        return [replace(one, cancel_requested=False) for one in super().take(*args)]


@caught_by("test_the_request_is_not_left_to_a_later_call_of_that_id")
class SaysThatAllIsUnwanted(Store):
    def take(self, *args):
        return [replace(one, cancel_requested=True) for one in super().take(*args)]


@caught_by("test_the_record_is_stored_for_what_was_removed_only")
class RecordsEveryCancel(Store):
    def cancel(self, record, now):
        self.records.put(record, now)
        return super().cancel(record, now)


@caught_by("test_a_renewal_that_tells_of_it_extends_the_lease")
class ExtendsNoCancelledLease(Store):
    def renew(self, receipt, now):
        if receipt.message.cancelled:
            return Lease.CANCEL_REQUESTED
        return super().renew(receipt, now)


@caught_by(
    "test_none_is_published_by_a_settlement_that_is_fenced_out",
    "test_after_a_lost_lease_every_outcome_is_fenced_out_whole",
)
class PublishesFollowUpsOfFencedSettlements(Store):
    def settle(self, settlement, now):
        answer = super().settle(settlement, now)
        if answer is Settled.FENCED and not isinstance(settlement, Release):
            for publication in settlement.follow_ups:
                self.publish(publication, now)
        return answer


@caught_by("test_after_a_lost_lease_every_outcome_is_fenced_out_whole")
class RecordsFencedSettlements(Store):
    def settle(self, settlement, now):
        if not isinstance(settlement, Release) and settlement.record:
            self.records.put(settlement.record, now)
        return super().settle(settlement, now)


@caught_by("test_they_are_published_whatever_the_outcome")
class HasFollowUpsOfSuccessOnly(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Dead | Retry):
            settlement = replace(settlement, follow_ups=())
        return super().settle(settlement, now)


@caught_by("test_one_may_be_the_same_call_again")
class PublishesFollowUpsTooEarly(Store):
    def settle(self, settlement, now):
        if self._valid(settlement.receipt) and not isinstance(settlement, Release):
            for publication in settlement.follow_ups:
                self.publish(publication, now)
            settlement = replace(settlement, follow_ups=())
        return super().settle(settlement, now)


@caught_by("test_a_settlement_without_a_record_leaves_the_last_one")
class DeletesRecordsWithoutBeingAsked(Store):
    def settle(self, settlement, now):
        self.records.put(_deletion(settlement.receipt), now)
        return super().settle(settlement, now)


def _deletion(held: HeldLease):
    from chicory.transport import Record  # noqa: PLC0415

    return Record(held.message.task_id, None, 0)


@caught_by("test_where_a_call_stands", "test_a_settlement_can_delete_the_record")
class KnowsNoDeletion(Store):
    def look_up(self, task_id, now):
        standing = super().look_up(task_id, now)
        return replace(standing, record=standing.record or b"")


@caught_by("test_a_record_is_forgotten_when_its_ttl_is_over")
class KeepsRecordsForEver(Store):
    def look_up(self, task_id, now):
        return super().look_up(task_id, 0)


@caught_by("test_a_new_record_brings_a_new_ttl")
class KeepsTheFirstTtl(Store):
    def __init__(self):
        super().__init__()
        put, ends = self.records.put, {}

        def put_until_the_first_end(record, now):
            end = ends.setdefault(record.task_id, now + record.ttl)
            put(replace(record, ttl=end - now), now)

        self.records.put = put_until_the_first_end


@caught_by(
    "test_a_purge_deletes_and_counts_all_but_the_leased",
)
class PurgesLeasedMessages(Store):
    def purge(self, queue, now):
        leased = [one for one in self._live.values() if one.line.name == queue]
        for message in leased:
            self._finish(message)
        return len(leased)


@caught_by(
    "test_a_purge_deletes_and_counts_all_but_the_leased",
    "test_what_was_purged_does_not_come_back",
)
class PurgesNoDelayedMessages(Store):
    def purge(self, queue, now):
        gone = [message for level in self.line(queue).levels for message in level.all()]
        for message in gone:
            self._finish(message)
        return len(gone)


@caught_by("test_a_long_queue_is_counted_before_anybody_has_fetched_from_it")
class CountsNoMoreThanTwoThousand(Store):
    def counts(self, queue, now):
        counted = super().counts(queue, now)
        return replace(counted, ready=min(counted.ready, 2000))


@caught_by("test_each_message_is_counted_where_it_is")
class CountsDelayedMessagesAsReady(Store):
    def counts(self, queue, now):
        counted = super().counts(queue, now)
        return replace(counted, ready=counted.ready + counted.delayed)


@caught_by("test_without_names_it_is_every_queue_that_holds_something_or_is_paused")
class ListsEveryQueueEverNamed(Store):
    def queues(self):
        return list(self._lines)


@caught_by("test_queues_are_kept_apart", "test_pauses_and_purges_reach_one_queue")
class ReadsQueueNamesLoosely(Store):
    def line(self, name):
        return super().line(name.strip().lower())


@caught_by("test_a_worker_that_stopped_beating_is_gone_or_expired")
class ForgetsNoWorker(Store):
    def __init__(self):
        super().__init__()
        beat = self.heartbeats.beat
        self.heartbeats.beat = lambda record, ttl, now: beat(record, ttl and ttl + 1e6, now)


@caught_by("test_workers_are_listed_by_id")
class ListsWorkersByAge(Store):
    def __init__(self):
        super().__init__()
        self.heartbeats.alive = lambda _: list(self.heartbeats.by_worker.values())


@caught_by("test_pages_of_one_queue_hold_that_queue_only")
class MixesDeadLetters(Store):
    def __init__(self):
        super().__init__()
        page = self.letters.page
        self.letters.page = lambda queue, after, limit: page(None, after, limit)


@caught_by("test_pages_go_from_the_oldest_to_the_newest")
class RepeatsALetterOnEachPage(Store):
    def __init__(self):
        super().__init__()
        page = self.letters.page

        def overlapping(queue, after, limit):
            last = self.letters.get(after)
            return ([last] if last else []) + page(queue, after, limit)[: limit - bool(last)]

        self.letters.page = overlapping


@caught_by("test_one_call_can_die_twice")
class KeepsOneLetterPerCall(Store):
    def settle(self, settlement, now):
        if isinstance(settlement, Dead):
            for found in self.letters.page(None, None, 1000):
                if found.task_id == settlement.letter.task_id:
                    self.letters.pop(found.id)
        return super().settle(settlement, now)


@caught_by("test_messages_are_answered_at_once", "test_a_waiting_fetch_takes_what_is_published")
class WakesNobody(Store):
    def pop_woken(self):
        return ()


@caught_by(
    "test_a_waiting_fetch_is_woken_by_them",
)
class WakesNobodyForFollowUps(Store):
    def _append(self, settlement, now):
        super()._append(settlement, now)
        self._woken.clear()


@caught_by("test_a_record_without_a_body_leaves_none")
class RecordsCancelsWithoutABody(Store):
    def cancel(self, record, now):
        return super().cancel(replace(record, body=record.body or b""), now)


@caught_by("test_what_waits_for_its_retry_is_removed")
class CancelsNoRetries(Store):
    def cancel(self, record, now):
        message = self._live.get(record.task_id)
        if message is not None and message.place is Place.DELAYED:
            message.cancelled = True
            return Cancelled.REQUESTED
        return super().cancel(record, now)


@caught_by("test_it_is_held_by_a_holder_that_is_asked_to_stop_until_that_has_ended")
class FreesKeysOfWhatIsAskedToStop(Store):
    def cancel(self, record, now):
        message = self._live.get(record.task_id)
        if message is not None and message.key is not None:
            self._holds.by_key.pop(message.key, None)
        return super().cancel(record, now)


@caught_by(
    "test_a_replayed_letter_takes_its_key", "test_a_letter_stays_while_another_message_has_its_key"
)
class ReplaysWithoutKeys(Store):
    def replay(self, letter_id, publication, now):
        return super().replay(letter_id, replace(publication, unique=None), now)


@caught_by("test_it_may_be_held_for_decades")
class OverflowsWithLongTimes(Store):
    def publish(self, publication, now):
        unique = publication.unique
        if unique is not None and unique.ttl > 1e9:
            publication = replace(publication, unique=replace(unique, ttl=0.0))
        return super().publish(publication, now)


@caught_by("test_a_record_that_is_stored_again_is_heard_again")
class TellsNewsOnly(Store):
    def __init__(self):
        super().__init__()
        self.records.put = self._put_news

    def _put_news(self, record, now):
        if self.records.get(record.task_id, now) != record.body:
            type(self.records).put(self.records, record, now)
