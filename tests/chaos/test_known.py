"""A known violation is told by a strict rule: what stands beside it is a fault of its own."""

from dataclasses import replace

import pytest

from tests.chaos.evidence import Asked, Delivery, Evidence, Judgement, Rules
from tests.chaos.known import RULES
from tests.chaos.load import one_request
from tests.chaos.oracle import judge
from tests.chaos.samples import results_of, summed

ALL = frozenset(RULES)
REQUEST, OTHER = one_request("r", files=3), one_request("o", files=1)
FIRST, SECOND, THIRD = REQUEST.files
FILES = (FIRST, SECOND, replace(THIRD, url=FIRST.url, text=FIRST.text), *OTHER.files)
"""[a, b, a], and a file beside it."""
CLEAN = Evidence(
    files=FILES,
    deliveries=results_of(FILES),
    billed_urls=[file.url for file in FILES],
    asked=[Asked(0, 0, tuple(file.id for file in FILES[:3])), Asked(0, 1, (FILES[3].id,))],
)


def judgement_of(evidence: Evidence, rules: Rules | None = None) -> Judgement:
    return judge(evidence, rules or Rules(mode="exactly_once", known=ALL))


def told(evidence: Evidence, rules: Rules | None = None) -> tuple[list[str], list[str]]:
    """The names of the known violations, and the kinds of the complaints beside them."""
    judgement = judgement_of(evidence, rules)
    names = [name for name, those in sorted(judgement.known.items()) for _ in those]
    return names, [complaint.kind for complaint in judgement.complaints]


def failed(number: int, code: str, task_id: str | None = None) -> Evidence:
    deliveries = list(CLEAN.deliveries)
    deliveries[number] = Delivery(FILES[number].id, code, "", task_id)
    return replace(CLEAN, deliveries=summed(deliveries))


def test_a_clean_run_shows_none() -> None:
    assert told(CLEAN) == ([], [])


def test_nothing_is_known_of_a_run_that_may_show_nothing() -> None:
    assert told(failed(1, "provider_error"), Rules(mode="exactly_once")) == ([], ["wrong"])


def test_a_second_above_the_quota_is_excused_no_more() -> None:
    assert told(replace(CLEAN, calls={"submit": [0.0] * 11})) == ([], ["quota"])


def test_s1_is_a_result_that_is_out_and_an_expired_one_in_at_least_once_alone() -> None:
    twice = [*CLEAN.deliveries, Delivery(FILES[3].id, "result_expired", "")]
    evidence = replace(CLEAN, deliveries=twice)
    at_least_once = Rules(mode="at_least_once", known=ALL)
    assert told(evidence, at_least_once)[0] == ["S1"]
    assert "duplicates" in told(evidence)[1]
    other = [*CLEAN.deliveries, Delivery(FILES[3].id, "cancelled", "")]
    assert "duplicates" in told(replace(CLEAN, deliveries=other), at_least_once)[1]


def test_e1_e5_and_e9_of_the_first_engine_are_excused_no_more() -> None:
    assert told(failed(1, "provider_error")) == ([], ["wrong"])
    assert told(replace(CLEAN, billed_urls=[*CLEAN.billed_urls, FIRST.url])) == ([], ["billed"])
    lost = replace(failed(3, "task_lost", "t"), unknown_tasks=frozenset({"t"}))
    assert told(lost) == ([], ["wrong"])


@pytest.mark.parametrize("code", ["deadline_exceeded", "result_expired", "submit_uncertain"])
def test_e6_needs_a_clock_that_stepped(code: str) -> None:
    assert told(failed(3, code)) == ([], ["wrong"])
    assert told(replace(failed(3, code), acts={"clock_step": 1})) == (["E6"], [])
    assert told(replace(failed(3, "audio_unusable"), acts={"clock_step": 1})) == ([], ["wrong"])


def test_e6_waits_until_the_worker_is_replaced_and_no_longer() -> None:
    for words, expected in (("clock: not all", (["E6"], [])), ("fleet: it did not", ([], ["stalls"]))):
        evidence = replace(CLEAN, stalls=[words])
        assert told(replace(evidence, acts={"clock_step": 1})) == expected
        assert told(evidence) == ([], ["stalls"])


def test_e6_forgets_what_has_ended_and_so_serves_what_is_asked_again() -> None:
    again = replace(CLEAN, acts={"clock_step": 1}, asked=[*CLEAN.asked, CLEAN.asked[1]])
    twice = replace(
        again,
        deliveries=[*CLEAN.deliveries, CLEAN.deliveries[3]],
        billed_urls=[*CLEAN.billed_urls, FILES[3].url],
    )
    assert told(twice) == (["E6", "E6"], [])
    assert told(replace(twice, asked=CLEAN.asked)) == ([], ["duplicates", "billed"])
    untold = replace(again, deliveries=[*CLEAN.deliveries[:3], replace(CLEAN.deliveries[3], ended=None)])
    assert told(untold) == (["E6"], [])
    assert told(replace(untold, asked=CLEAN.asked)) == ([], ["wrong"])


@pytest.mark.parametrize("purpose", ["conflict", "other_files", "invalid_json"])
def test_no_rule_excuses_a_record_that_was_not_answered_or_answered_otherwise(purpose: str) -> None:
    record = Asked(0, 2, (), purpose)
    evidence = replace(CLEAN, asked=[*CLEAN.asked, record], acts={"clock_step": 1})
    assert told(evidence) == ([], ["lost"])
    answer = Delivery(record.origin, "already_finished", "")
    assert told(replace(evidence, deliveries=[*CLEAN.deliveries, answer])) == ([], ["wrong"])
