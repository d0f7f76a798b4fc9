"""The verdict finds each promise that a run has broken, and forgives what a fault explains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chicory.states import TaskState
from chicory.testing.faults.case import Broken, Terms
from chicory.testing.faults.kinds import ENDS, Kind
from chicory.testing.faults.ledger import Entry, Event
from chicory.testing.faults.verdict import Finding, Left, judge

TERMS = Terms(lease=8.0, max_crashes=3)
ONE, TWO = 101, 102
PRODUCER = 100
KEY = "call"


class Story:
    """Tells a ledger, one entry a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: list[Entry] = []
        self.outcomes: dict[str, TaskState] = {}
        self.letters: list[tuple[str, str]] = []
        self.queued = 0

    def tell(self, event: Event, pid: int = 0, detail: str = "", attempt: int = 0, key: str = ""):
        self.now += 1
        self.entries.append(Entry(event, self.now, pid, key, attempt, detail))
        return self

    def enqueued(self, kind: Kind = Kind.BRIEF, answer: Event = Event.ACCEPTED, key: str = KEY):
        self.tell(Event.ABOUT, PRODUCER, kind, key=key)
        return self.tell(answer, PRODUCER, key=key)

    def begun(self, pid: int = ONE, attempt: int = 0, key: str = KEY):
        self.tell(Event.FETCHED, pid, attempt=attempt, key=key)
        return self.tell(Event.STARTED, pid, attempt=attempt, key=key)

    def ended(
        self,
        pid: int = ONE,
        way: str = "done",
        answer: Event | None = Event.SETTLED,
        attempt: int = 0,
        key: str = KEY,
    ):
        if way == "done":
            self.tell(Event.EFFECT, pid, attempt=attempt, key=key)
        self.tell(Event.SETTLING, pid, way, attempt, key)
        if answer is not None:
            self.tell(answer, pid, way, attempt, key)
        return self

    def stored(self, state: TaskState = TaskState.SUCCESS, key: str = KEY):
        self.outcomes[key] = state
        return self

    def buried(self, reason: str, key: str = KEY):
        self.letters.append((key, reason))
        return self.stored(TaskState.DEAD_LETTERED, key)

    def passed(self, seconds: float):
        self.now += seconds
        return self

    def judged(self) -> Finding:
        return judge(self.entries, Left(self.outcomes, self.letters, self.queued), TERMS)

    @property
    def broken(self) -> set[Broken]:
        return {breach.promise for breach in self.judged().breaches}


def a_story() -> Story:
    return Story().enqueued().begun()


# -- what is right -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        Story(),
        a_story().ended().stored(),
        Story().enqueued(answer=Event.UNSURE),
        Story().enqueued(answer=Event.UNSURE).begun().ended().stored(),
        Story().enqueued(answer=Event.REFUSED),
        Story().enqueued(Kind.FAILING).begun().ended(way="dead:failed").buried("failed"),
        a_story().ended(answer=None).stored(),
        a_story().ended(answer=None).tell(Event.KILLED, ONE).stored(),
        a_story().tell(Event.KILLED, ONE).begun(TWO).ended(TWO).stored(),
        a_story().ended(way="release").begun(TWO).ended(TWO).stored(),
        Story()
        .enqueued(Kind.FLAKY)
        .begun()
        .ended(way="retry")
        .begun(TWO, 1)
        .ended(TWO, attempt=1)
        .stored(),
        Story().enqueued(Kind.CANCELLED).stored(TaskState.CANCELLED),
    ],
)
def test_nothing_is_broken(story):
    assert story.judged().breaches == []


def test_what_still_waits_is_not_lost():
    story = Story().enqueued()
    story.queued = 1

    assert story.broken == set()


def test_a_repeat_because_of_a_death_is_counted_as_excused():
    story = a_story().tell(Event.KILLED, ONE).begun(TWO).ended(TWO).stored()

    assert story.judged().excused == 1


def test_what_was_noted_late_by_a_process_that_was_stopped_had_happened_before():
    story = Story().enqueued().tell(Event.FETCHED, ONE, key=KEY)
    looked_at_the_clock = story.now + 0.5
    story.tell(Event.STOPPED, ONE).passed(5).begun(TWO).tell(Event.RESUMED, ONE)
    story.entries.append(Entry(Event.STARTED, looked_at_the_clock, ONE, KEY))
    story.ended(TWO).stored()

    assert story.broken == set()
    assert story.judged().excused == 1


# -- what is lost --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        Story().enqueued(),
        a_story(),
        a_story().ended(),
        a_story().ended(way="dead:failed"),
        Story().enqueued(answer=Event.UNSURE).begun(),
        Story().enqueued(Kind.ONCE).begun().ended(),
    ],
)
def test_what_was_accepted_or_begun_and_has_no_outcome_is_lost(story):
    assert Broken.LOST in story.broken


def test_one_that_waits_excuses_one():
    story = Story().enqueued().enqueued(key="other")
    story.queued = 1

    assert story.judged().counted(Broken.LOST) == 1


def test_what_runs_at_most_once_may_die_with_its_worker():
    story = Story().enqueued(Kind.ONCE)
    story.tell(Event.FETCHED, ONE, key=KEY).ended(way="done").tell(Event.KILLED, ONE)

    assert story.broken == set()


def test_what_an_operator_destroyed_is_forgiven_and_what_came_later_is_not():
    before = Story().enqueued().tell(Event.WIPED)
    after = Story().tell(Event.WIPED).enqueued()

    assert before.broken == set()
    assert before.judged().forgiven == 1
    assert after.broken == {Broken.LOST}


def test_what_ran_when_an_operator_destroyed_its_lease_may_run_again_and_what_came_later_not():
    before = a_story().tell(Event.WIPED).begun(TWO).ended(TWO).stored()
    after = Story().tell(Event.WIPED).enqueued().begun().begun(TWO).ended(TWO).stored()

    assert before.broken == set()
    assert after.broken == {Broken.REPEATED}


# -- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        a_story().ended().ended().stored(),
        a_story().ended().ended(TWO, "dead:failed").stored(),
        a_story().ended(way="dead:failed").buried("failed").buried("failed"),
        a_story().ended().buried("failed").stored(TaskState.SUCCESS),
        a_story().ended().stored(TaskState.DEAD_LETTERED),
        a_story().stored(),
        a_story().ended(way="retry").stored(),
    ],
)
def test_more_than_one_outcome_is_found(story):
    assert Broken.OUTCOMES in story.broken


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("state", [state for state in TaskState if state.final])
def test_a_call_that_comes_to_what_it_cannot_is_found(kind, state):
    dead = state is TaskState.DEAD_LETTERED
    story = Story().enqueued(kind).begun().ended(way="dead:failed" if dead else "done")
    story.stored(state)

    assert (Broken.END in story.broken) == (state not in ENDS[kind])


def test_success_without_its_effect_is_found():
    story = a_story().tell(Event.SETTLING, ONE, "done", key=KEY)

    assert story.stored().broken == {Broken.EFFECT}


# -- executions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        a_story().begun(TWO).ended(TWO).stored(),
        a_story().tell(Event.KILLED, TWO).begun(TWO).ended(TWO).stored(),
        a_story().begun(TWO).tell(Event.KILLED, ONE).ended(TWO).stored(),
        a_story().ended().stored().begun(TWO),
        a_story().ended().stored().tell(Event.KILLED, ONE).begun(TWO),
        Story().enqueued(Kind.ONCE).begun().ended().stored().begun(TWO),
        a_story().tell(Event.STOPPED, ONE).tell(Event.RESUMED, ONE).begun(TWO).ended(TWO).stored(),
        a_story().tell(Event.AWAY).tell(Event.BACK).begun(TWO).ended(TWO).stored(),
        a_story().ended(way="retry").begun(TWO).ended(TWO).stored(),
    ],
)
def test_a_second_execution_without_need_is_found(story):
    assert Broken.REPEATED in story.broken


@pytest.mark.parametrize(
    "story",
    [
        a_story().tell(Event.STOPPED, ONE).passed(5).begun(TWO),
        a_story().tell(Event.STOPPED, ONE).passed(5).tell(Event.RESUMED, ONE).begun(TWO),
        a_story().passed(5).tell(Event.STALLED, ONE, "5.0").begun(TWO),
        a_story().tell(Event.AWAY).passed(5).tell(Event.BACK).begun(TWO),
    ],
)
def test_a_second_execution_after_a_lease_ran_out_is_excused(story):
    story.ended(TWO).stored()

    assert story.judged().breaches == []
    assert story.judged().excused == 1


def test_a_broker_that_was_killed_may_have_forgotten_a_lease_where_it_says_so():
    story = a_story().tell(Event.AWAY, detail="killed").tell(Event.BACK).begun(TWO).ended(TWO)
    left = Left(story.stored().outcomes)

    strict = judge(story.entries, left, TERMS)
    forgetful = judge(story.entries, left, replace(TERMS, forgets_leases=True))

    assert [breach.promise for breach in strict.breaches] == [Broken.REPEATED]
    assert forgetful.breaches == []
    assert forgetful.excused == 1


@pytest.mark.parametrize(
    ("story", "broken"),
    [
        (Story().enqueued(), Broken.LOST),
        (a_story().ended(), Broken.LOST),
        (a_story().ended().begun(TWO).ended(TWO).stored(), Broken.OUTCOMES),
        (
            Story().enqueued(Kind.CANCELLED).tell(Event.REMOVED, PRODUCER, key=KEY).begun().ended(),
            Broken.CANCELLED,
        ),
    ],
)
def test_a_broker_that_died_may_have_forgotten_its_last_moments_and_no_more(story, broken):
    story.tell(Event.AWAY, detail="killed").tell(Event.BACK)
    if broken is not Broken.LOST:
        story.stored()
    left = Left(story.outcomes)

    strict = judge(story.entries, left, TERMS)
    longer_ago = judge(story.entries, left, replace(TERMS, forgets=0.5))
    forgetful = judge(story.entries, left, replace(TERMS, forgets=100.0))

    assert broken in {breach.promise for breach in strict.breaches}
    assert (longer_ago.breaches, longer_ago.forgotten) == (strict.breaches, 0)
    assert (forgetful.breaches, forgetful.forgotten) == ([], 1)


def test_no_death_of_a_broker_excuses_what_was_settled_but_never_begun():
    story = Story().enqueued().tell(Event.AWAY, detail="killed").tell(Event.BACK).stored()
    story.tell(Event.SETTLING, ONE, "done", key=KEY)

    found = judge(story.entries, Left(story.outcomes), replace(TERMS, forgets=100.0))

    assert [breach.promise for breach in found.breaches] == [Broken.EFFECT]


def test_what_a_worker_was_handed_before_it_was_stopped_it_may_begin_when_all_is_over():
    story = Story().enqueued().tell(Event.STOPPED, ONE).begun(TWO).ended(TWO).stored().passed(5)
    story.tell(Event.RESUMED, ONE).begun(ONE).ended(ONE, answer=Event.FENCED)

    assert story.broken == set()


# -- follow-ups and dead letters -----------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        Story().enqueued(Kind.FLAKY).begun().ended(way="retry").ended(TWO, way="retry"),
        Story().enqueued(Kind.FLAKY).begun().begun(TWO, 1),
    ],
)
def test_a_follow_up_that_nobody_released_or_two_did_is_found(story):
    story.ended(TWO, attempt=1).stored()

    assert Broken.RELEASED in story.broken


def test_a_call_that_does_not_fail_must_not_be_buried_for_that():
    assert Broken.REASON in a_story().ended(way="dead:failed").buried("failed").broken


def test_no_call_of_a_run_is_undecodable():
    assert Broken.REASON in a_story().ended(way="dead:undecodable").buried("undecodable").broken


@pytest.mark.parametrize("deaths", range(5))
def test_a_call_is_buried_as_crashing_only_after_so_many_lost_leases(deaths):
    story = Story().enqueued()
    for pid in range(1, deaths + 1):
        story.begun(pid).tell(Event.KILLED, pid)
    story.tell(Event.FETCHED, 77, key=KEY).ended(77, "dead:crashed").buried("crashed")

    assert story.broken == (set() if deaths >= TERMS.max_crashes else {Broken.REASON})


@pytest.mark.parametrize(
    "story",
    [
        Story().begun(key="strange").ended(key="strange").stored(key="strange"),
        Story().enqueued(answer=Event.REFUSED).begun().ended().stored(),
        Story().buried("crashed", key="strange"),
    ],
)
def test_what_nobody_enqueued_is_found(story):
    assert Broken.GHOST in story.broken


def test_what_was_cancelled_before_it_began_must_not_begin():
    story = Story().enqueued(Kind.CANCELLED).tell(Event.REMOVED, PRODUCER, key=KEY)

    assert story.stored(TaskState.CANCELLED).broken == set()
    assert Broken.CANCELLED in story.begun().broken


# -- any story -----------------------------------------------------------------------------------


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_calls_do_not_answer_for_each_other(order, killed):
    story = Story()
    for number in order:
        key, pid = f"call {number}", 200 + number
        story.enqueued(key=key).begun(pid, key=key)
        if number in killed:
            story.tell(Event.KILLED, pid).begun(ONE, key=key).ended(ONE, key=key)
        else:
            story.ended(pid, key=key)
        if number:
            story.stored(key=key)

    found = story.judged()

    assert [breach.key for breach in found.breaches] == ["call 0"]
    assert found.counted(Broken.LOST) == 1
    assert found.excused == len(killed)


@given(st.data())
def test_no_ledger_upsets_it(data):
    entries = data.draw(
        st.lists(
            st.builds(
                Entry,
                st.sampled_from(Event),
                st.floats(0, 100),
                st.integers(0, 3),
                st.sampled_from(["", "a", "b"]),
                st.integers(0, 2),
                st.just("1"),
            )
        )
    )
    entries = [
        entry._replace(detail=data.draw(st.sampled_from(Kind)))
        if entry.event is Event.ABOUT
        else entry
        for entry in entries
    ]
    left = Left(data.draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from(TaskState))))

    judge(entries, left, TERMS)
