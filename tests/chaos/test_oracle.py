"""The oracle turns red for each thing that must not be, and for nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from service.core.entry import CURSOR_KEY, OWNER_KEY, Owner, encode_cursor, encode_owner
from service.core.record import Cursor
from tests.chaos.load import one_request
from tests.chaos.oracle import Asked, Delivery, Entry, Evidence, Rules, Verdict, judge

REQUEST = one_request("r", files=2)
FIRST, SECOND = REQUEST.files
EXACTLY_ONCE = Rules(mode="exactly_once")


def cursor(next_offset: int, epoch: int = 1) -> Entry:
    return Entry(0, CURSOR_KEY, encode_cursor(Cursor(next_offset)), epoch)


def claim(epoch: int) -> Entry:
    return Entry(0, OWNER_KEY, encode_owner(Owner(epoch, "m")), epoch)


CLEAN = Evidence(
    files=REQUEST.files,
    deliveries=[Delivery(file.id, "", file.text) for file in REQUEST.files],
    billed_urls=[file.url for file in REQUEST.files],
    calls={"submit": [0.0], "query": [2.0, 3.0]},
    asked=[Asked(0, 0, (FIRST.id, SECOND.id))],
    journal=[claim(1), Entry(0, FIRST.id, b"{}", 1), Entry(0, SECOND.id, b"{}", 1), cursor(1)],
    committed={0: 1},
)


def counts(verdict: Verdict) -> Mapping[str, int]:
    """The kinds of complaint that there are."""
    kinds = ("lost", "duplicates", "wrong", "billed", "quota", "cursor", "trouble", "stalls")
    return {kind: len(getattr(verdict, kind)) for kind in kinds if getattr(verdict, kind)}


@pytest.mark.parametrize("rules", [Rules(), EXACTLY_ONCE])
def test_a_clean_run_has_no_complaint(rules: Rules) -> None:
    assert judge(CLEAN, rules).complaints == []


def test_a_file_without_an_outcome_is_lost() -> None:
    assert counts(judge(replace(CLEAN, deliveries=CLEAN.deliveries[1:]), Rules())) == {"lost": 1}


def test_a_repeat_of_the_same_kind_is_one_only_where_delivery_is_exactly_once() -> None:
    evidence = replace(CLEAN, deliveries=[*CLEAN.deliveries, CLEAN.deliveries[0]])
    assert counts(judge(evidence, Rules())) == {}
    assert counts(judge(evidence, EXACTLY_ONCE)) == {"duplicates": 1}


def test_a_repeat_of_another_kind_is_a_second_outcome() -> None:
    evidence = replace(CLEAN, deliveries=[*CLEAN.deliveries, Delivery(FIRST.id, "submit_uncertain", "")])
    assert counts(judge(evidence, Rules())) == {"duplicates": 1, "wrong": 1}


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(FIRST.id, "submit_uncertain", ""),
        Delivery(FIRST.id, "deadline_exceeded", ""),
        Delivery(FIRST.id, "", SECOND.text),
    ],
)
def test_a_failure_or_another_files_text_is_wrong(delivery: Delivery) -> None:
    assert counts(judge(replace(CLEAN, deliveries=[delivery, CLEAN.deliveries[1]]), Rules())) == {"wrong": 1}


def test_an_outcome_that_nobody_asked_for_is_wrong() -> None:
    evidence = replace(CLEAN, deliveries=[*CLEAN.deliveries, Delivery("x/0/0", "", "")])
    assert counts(judge(evidence, Rules())) == {"wrong": 1}


def test_only_a_record_that_asks_once_more_may_be_told_that_it_has_ended() -> None:
    again = Asked(0, 1, (FIRST.id, SECOND.id))
    for offset, wrong in ((1, {}), (0, {"wrong": 1}), (2, {"wrong": 1})):
        told = Delivery(f"requests/0/{offset}", "already_finished", "")
        evidence = replace(CLEAN, asked=[*CLEAN.asked, again], deliveries=[*CLEAN.deliveries, told])
        assert counts(judge(evidence, Rules())) == wrong


def test_each_bill_beyond_the_first_and_what_is_allowed_counts() -> None:
    evidence = replace(CLEAN, billed_urls=[FIRST.url, FIRST.url, FIRST.url, SECOND.url])
    assert counts(judge(evidence, Rules())) == {"billed": 2}
    assert counts(judge(evidence, Rules(resubmissions=1))) == {"billed": 1}


def test_too_many_calls_in_a_span_are_a_violation() -> None:
    within = [0.1 * number for number in range(50)]
    assert counts(judge(replace(CLEAN, calls={"submit": within}), Rules())) == {}
    assert counts(judge(replace(CLEAN, calls={"submit": [*within, 2.5]}), Rules())) == {"quota": 1}


def test_a_cursor_that_passed_a_job_which_is_not_durable_is_a_violation() -> None:
    evidence = replace(CLEAN, journal=[claim(1), Entry(0, FIRST.id, b"{}", 1), cursor(1)])
    assert counts(judge(evidence, Rules())) == {"cursor": 1}


def test_a_group_offset_beyond_the_cursor_is_a_violation() -> None:
    assert counts(judge(replace(CLEAN, committed={0: 2}), Rules())) == {"cursor": 1}


def test_the_cursor_of_a_stranger_behind_a_claim_does_not_count() -> None:
    evidence = replace(CLEAN, journal=[*CLEAN.journal, claim(2), cursor(9, epoch=1)], committed={0: 1})
    assert counts(judge(evidence, Rules())) == {}
    assert counts(judge(replace(evidence, committed={0: 9}), Rules())) == {"cursor": 1}


def test_what_is_left_behind_and_what_stood_still_is_told() -> None:
    evidence = replace(CLEAN, trouble=["worker ended with 70"], stalls=["fleet: no outcome"])
    assert counts(judge(evidence, Rules())) == {"trouble": 1, "stalls": 1}


def test_the_line_of_a_run_names_every_count_and_the_seed() -> None:
    line = judge(replace(CLEAN, deliveries=CLEAN.deliveries[1:]), Rules()).line(seed=7)
    assert line == (
        "requests 1, outcomes 1, lost 1, duplicate outcome ids 0, wrong outcomes 0, billed duplicates 0, "
        "quota violations 0, cursor violations 0, left behind 0, stalls 0, seed 7"
    )
