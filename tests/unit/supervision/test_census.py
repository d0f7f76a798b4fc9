"""One answer for several processes."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from chicory.answers import Answer, absent, as_json, health
from chicory.supervision.census import Census, merged, reasons

ONE = b"""# HELP a_total First.
# TYPE a_total counter
a_total{process="1"} 1.0
# HELP b Only here.
# TYPE b gauge
b{queue="q # HELP x"} 2.0
"""
TWO = b"""# HELP a_total First, said otherwise.
# TYPE a_total counter
a_total{process="2"} 3.0
"""


class Stub:
    """A process that answers what it is told to; the real ones are in the integration tests."""

    def __init__(self, *, alive=True, at_work=True, **answers) -> None:
        self.is_alive, self.is_ready = alive, at_work
        self.answers, self.asked = answers, []

    def ask(self, path, seconds):
        self.asked.append(path)
        return self.answers.get(path.partition("?")[0].strip("/"))


def census(*children, missing=0) -> Census:
    return Census(lambda: dict(enumerate(children)), lambda: missing)


def said(answer: Answer) -> tuple[int, list[str]]:
    return answer.status, json.loads(answer.body)["reasons"]


WELL = {"live": health([]), "ready": health([])}
POORLY = {"live": health(["blocked"]), "ready": health(["blocked", "no broker"])}


def test_all_are_well():
    everybody = census(Stub(**WELL), Stub(**WELL))

    assert said(everybody("/live")) == (200, [])
    assert said(everybody("/ready")) == (200, [])


def test_one_that_is_not_is_named():
    everybody = census(Stub(**WELL), Stub(**POORLY))

    assert said(everybody("/live")) == (503, ["worker process 2: blocked"])
    assert said(everybody("/ready")) == (
        503,
        ["worker process 2: blocked", "worker process 2: no broker"],
    )


def test_one_that_does_not_answer_is_neither_live_nor_ready():
    everybody = census(Stub(), Stub(**WELL))

    for path in ("/live", "/ready"):
        assert said(everybody(path)) == (503, ["worker process 1: no answer within 4 s"])


def test_who_has_died_or_starts_is_the_supervisors_matter():
    dead, fresh = Stub(alive=False), Stub(at_work=False)
    everybody = census(dead, fresh, Stub(**WELL), missing=1)

    assert said(everybody("/live")) == (200, [])
    assert said(everybody("/ready")) == (
        503,
        ["1 worker processes are not there", "worker process 2: no answer within 4 s"],
    )
    assert dead.asked == []


def test_none_at_all_is_not_ready():
    assert said(census(missing=4)("/live")) == (200, [])
    assert said(census(missing=4)("/ready"))[0] == 503


def test_each_has_its_number_and_one_counts_the_queues():
    first, second = Stub(metrics=Answer(200, ONE, "text")), Stub(metrics=Answer(200, TWO, "text"))

    answer = census(first, second)("/metrics?x=1")

    assert first.asked == ["/metrics?process=1&queues=1"]
    assert second.asked == ["/metrics?process=2&queues=0"]
    assert (answer.status, answer.kind) == (200, "text")


def test_each_family_is_told_once():
    text = merged([Answer(200, ONE), None, Answer(200, TWO)]).body.decode()

    assert text.count("# TYPE a_total") == 1
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in families["a"].samples] == [1, 3]
    assert [sample.labels for sample in families["b"].samples] == [{"queue": "q # HELP x"}]


def test_where_no_process_has_metrics_it_is_said_why():
    missing = as_json(501, {"error": "install it"})

    assert merged([None, missing]) == missing
    assert merged([None]).status == merged([]).status == 503


def test_other_paths_are_not_there():
    assert census()("/") == absent()


def test_what_is_no_list_of_reasons_is_shown_as_it_is():
    assert reasons({0: Answer(500, b'{"error": "a bug"}')}) == [
        'worker process 1: {"error": "a bug"}'
    ]
