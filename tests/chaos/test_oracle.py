"""The oracle turns red for each thing that must not be, and for nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from service.core.job.accepted_request import FileEnd, FinishedRequest
from service.core.job.identity import Origin
from service.core.job.request_record import Cursor
from service.core.journal.entries import OwnerEntry, encode_cursor, encode_finished, encode_owner
from service.core.journal.stamp import cursor_key, owner_key
from tests.chaos.evidence import QUOTAS, WORDS, Asked, Delivery, Entry, Evidence, Judgement, Rules
from tests.chaos.load import SYNC_MODEL, File, one_request
from tests.chaos.oracle import SYNC_REPEATS, judge
from tests.chaos.samples import results_of, summed

REQUEST = one_request("r", files=2)
FIRST, SECOND = REQUEST.files
KEYS = (FIRST.id, SECOND.id)
EXACTLY_ONCE = Rules(mode="exactly_once")


def cursor(next_offset: int, epoch: int = 1) -> Entry:
    return Entry(0, cursor_key(epoch), encode_cursor(Cursor(next_offset)), epoch)


def claim(epoch: int) -> Entry:
    return Entry(0, owner_key(epoch), encode_owner(OwnerEntry(epoch, "m")), epoch)


def finished(*file_indexes: int) -> Entry:
    """What the journal says of the request when these jobs have ended."""
    ends = tuple(FileEnd(index, True) for index in file_indexes)
    left = FinishedRequest(Origin(0, 0), "r", 0, "d", ends, 1)
    return Entry(0, str(left.origin), encode_finished(left), 1)


CLEAN = Evidence(
    files=REQUEST.files,
    deliveries=results_of(REQUEST.files),
    billed_urls=[file.url for file in REQUEST.files],
    calls={"submit": [0.0], "query": [2.0, 3.0]},
    asked=[Asked(0, 0, KEYS)],
    journal=[claim(1), finished(0, 1), cursor(1)],
    committed={0: 1},
)


def counts(judgement: Judgement) -> Mapping[str, int]:
    """The kinds of complaint that there are."""
    return {str(kind): count for kind, count in judgement.counts().items()}


def asking_also(*records: Asked, told: tuple[Delivery, ...] = ()) -> Evidence:
    """A clean run with further records behind the first one, and what came of them."""
    end = 1 + len(records)
    return replace(
        CLEAN,
        asked=[*CLEAN.asked, *records],
        deliveries=[*CLEAN.deliveries, *told],
        journal=[*CLEAN.journal, cursor(end)],
        committed={0: end},
    )


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
    deliveries = summed([delivery, CLEAN.deliveries[1]])
    assert counts(judge(replace(CLEAN, deliveries=deliveries), Rules())) == {"wrong": 1}


def test_only_a_file_that_may_fail_so_may_fail_so() -> None:
    may_be_cancelled = replace(FIRST, may_be=FIRST.may_be | {"cancelled"})
    for code, wrong in (("cancelled", {}), ("deadline_exceeded", {"wrong": 1})):
        deliveries = summed([Delivery(FIRST.id, code, ""), CLEAN.deliveries[1]])
        evidence = replace(CLEAN, files=[may_be_cancelled, SECOND], deliveries=deliveries)
        assert counts(judge(evidence, Rules())) == wrong


def test_an_outcome_without_a_request_is_wrong() -> None:
    evidence = replace(CLEAN, deliveries=[*CLEAN.deliveries, Delivery("x/0/0", "", "")])
    assert counts(judge(evidence, Rules())) == {"wrong": 1}


def test_only_a_repeat_or_a_cancel_gets_already_finished() -> None:
    again = Asked(0, 1, KEYS)
    for offset, wrong in ((1, {}), (0, {"wrong": 1}), (2, {"wrong": 1})):
        told = Delivery(f"requests/0/{offset}", "already_finished", "")
        assert counts(judge(asking_also(again, told=(told,)), Rules())) == wrong


def test_a_cancel_gets_no_answer_or_the_failure_already_finished() -> None:
    cancel = Asked(0, 1, (), "cancel")
    assert counts(judge(asking_also(cancel), Rules())) == {}
    for code, wrong in (("already_finished", {}), ("cancel_unknown_request", {"wrong": 1})):
        told = Delivery(cancel.origin, code, "")
        assert counts(judge(asking_also(cancel, told=(told,)), Rules())) == wrong


@pytest.mark.parametrize(
    ("purpose", "code"),
    [
        ("conflict", "request_id_conflict"),
        ("other_files", "request_id_conflict"),
        ("invalid_json", "invalid_json"),
    ],
)
def test_a_record_that_cannot_be_served_ends_in_the_failure_that_says_why(purpose: str, code: str) -> None:
    record = Asked(0, 1, (), purpose)
    told = Delivery(record.origin, code, "")
    assert counts(judge(asking_also(record, told=(told,)), Rules())) == {}
    assert counts(judge(asking_also(record), Rules())) == {"lost": 1}
    other = replace(told, code="invalid_request")
    assert counts(judge(asking_also(record, told=(other,)), Rules())) == {"wrong": 1}


@pytest.mark.parametrize(
    ("ended", "wrong"),
    [
        ((None, (2, 0)), {}),
        (((2, 0), None), {}),
        ((None, None), {"wrong": 1}),
        (((2, 0), (2, 0)), {"wrong": 1}),
        ((None, (1, 1)), {"wrong": 1}),
    ],
)
def test_one_outcome_of_a_request_has_its_true_summary(
    ended: tuple[tuple[int, int] | None, ...], wrong: Mapping[str, int]
) -> None:
    deliveries = [replace(each, ended=told) for each, told in zip(CLEAN.deliveries, ended, strict=True)]
    assert counts(judge(replace(CLEAN, deliveries=deliveries), Rules())) == wrong


def test_each_bill_beyond_the_first_and_what_is_allowed_counts() -> None:
    evidence = replace(CLEAN, billed_urls=[FIRST.url, FIRST.url, FIRST.url, SECOND.url])
    assert counts(judge(evidence, Rules())) == {"billed": 2}
    assert counts(judge(evidence, Rules(resubmissions=1))) == {"billed": 1}


def test_files_with_one_url_have_a_bill_each_and_no_more() -> None:
    duplicate_member = replace(SECOND, url=FIRST.url, text=FIRST.text)
    deliveries = results_of([FIRST, duplicate_member])
    for bills, wrong in ((2, {}), (3, {"billed": 1}), (1, {"billed": 1})):
        evidence = replace(
            CLEAN, files=[FIRST, duplicate_member], deliveries=deliveries, billed_urls=[FIRST.url] * bills
        )
        assert counts(judge(evidence, Rules())) == wrong


def test_a_lost_synchronous_call_may_be_made_twice_more_and_is_counted() -> None:
    file = File(FIRST.id, FIRST.url, FIRST.text, SYNC_MODEL)
    for bills, wrong in ((1 + SYNC_REPEATS, {}), (2 + SYNC_REPEATS, {"billed": 1})):
        evidence = replace(CLEAN, files=[file, SECOND], billed_urls=[*[file.url] * bills, SECOND.url])
        judgement = judge(evidence, EXACTLY_ONCE)
        assert counts(judgement) == wrong
        assert judgement.repeats == bills - 1
        # What was announced and lost in a crash is called for again.
        assert counts(judge(replace(evidence, crashes=1), Rules())) == {}


def test_too_many_calls_in_a_second_are_a_violation() -> None:
    most = QUOTAS["submit"].per_second
    within = [number / most for number in range(3 * most)]
    assert counts(judge(replace(CLEAN, calls={"submit": within}), Rules())) == {}
    assert counts(judge(replace(CLEAN, calls={"submit": [*within, 1.55]}), Rules())) == {"quota": 1}


def test_a_cursor_that_passed_a_job_which_is_not_durable_is_a_violation() -> None:
    evidence = replace(CLEAN, journal=[claim(1), finished(0), cursor(1)])
    assert counts(judge(evidence, Rules())) == {"cursor": 1}


def test_a_group_offset_beyond_the_cursor_is_a_violation() -> None:
    assert counts(judge(replace(CLEAN, committed={0: 2}), Rules())) == {"cursor": 1}


def test_a_stale_owners_cursor_behind_a_claim_does_not_count() -> None:
    evidence = replace(CLEAN, journal=[*CLEAN.journal, claim(2), cursor(9, epoch=1)], committed={0: 1})
    assert counts(judge(evidence, Rules())) == {}
    assert counts(judge(replace(evidence, committed={0: 9}), Rules())) == {"cursor": 1}


def test_a_group_that_did_not_come_to_the_end_lags() -> None:
    assert counts(judge(replace(asking_also(Asked(0, 1, KEYS)), committed={0: 1}), Rules())) == {"lag": 1}
    assert counts(judge(replace(CLEAN, committed={}), Rules())) == {}


def test_a_worker_over_its_memory_limit_is_reported() -> None:
    for mib, wrong in ((400, {}), (401, {"memory": 1})):
        judgement = judge(replace(CLEAN, peaks={"w": mib, "v": 90}), Rules(resident_mib=400))
        assert counts(judgement) == wrong
        assert judgement.peak_mib == mib


def test_leftovers_and_stalls_are_reported() -> None:
    evidence = replace(CLEAN, left_behind=["worker ended with 70"], stalls=["fleet: no outcome"])
    assert counts(judge(evidence, Rules())) == {"left_behind": 1, "stalls": 1}


def test_the_line_of_a_run_names_every_count_and_the_seed() -> None:
    line = judge(replace(CLEAN, deliveries=CLEAN.deliveries[1:]), Rules()).line(seed=7)
    assert line == (
        "requests 1, outcomes 1, lost 1, duplicate outcome ids 0, wrong outcomes 0, billed duplicates 0, "
        "quota violations 0, cursor violations 0, lagging partitions 0, over memory 0, left behind 0, "
        "stalls 0, synchronous calls repeated 0, most memory 0 MiB, seed 7"
    )
    assert all(words in line for words in WORDS.values())
