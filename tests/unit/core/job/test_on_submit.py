"""Submissions that wait for their POST, and the answers to it: intents, refusals, what was not sent."""

from dataclasses import replace

import pytest

from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    GivenBack,
    HotwordListRefused,
    Intended,
    JobsLeft,
    Poll,
    Posted,
    PostIntended,
    QueueSubmit,
    SubmissionEvent,
    SubmissionRestored,
    SubmitAnswered,
    SubmitFailed,
    SubmitNotSent,
    SubmitRefused,
    TaskMade,
    Transcribed,
)
from service.core.job.file_matching import files_digest
from service.core.job.identity import JobRef, Origin
from service.core.job.job import Job, JobState
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import Context, SubmissionTransition, Successor
from service.core.provider.answers import Bill, ProviderError
from service.core.provider.error_table import FOREIGN_ANSWER_ATTEMPTS, PROVIDER_FAULT_ATTEMPTS
from service.errors import FailureCode
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    SUBMISSION,
    URL,
    context,
    job,
    jobs_of,
    request,
    request_of,
    submission,
    submission_of,
    transcript,
    url,
)

WAITING, INTENDED = SubmissionState.WAITING, SubmissionState.INTENDED
THROTTLED = ProviderError("Throttling", "slow down", 429, 4.0)
NO_KEY = ProviderError("InvalidApiKey", "no such key", 401)
REJECTED = ProviderError("InvalidParameter", "no", 400)
FAULT = ProviderError("InternalError", "oops", 500)
NO_ROUTE = ProviderError("connect_failed", "no route")
SILENCE = ProviderError("ASR_RESPONSE_HAVE_NO_WORDS", "no speech", 400)
TOO_MANY = ProviderError("InvalidParameter", "file_urls exceeds the max number 1", 400)
BAD_FILE = ProviderError("InvalidURL", "no", 400)
FOUR = request_of(4)
REFS = tuple(FOUR.ref(n) for n in range(4))


def answer(
    before: Submission,
    event: SubmissionEvent,
    now: Context | None = None,
    jobs: dict[JobRef, Job] | None = None,
    **fields: object,
) -> SubmissionTransition:
    """What the submission answers, with its one job beside it unless others are given."""
    state = JobState.WAITING if before.state is WAITING else JobState.SUBMITTED
    return advance_submission(before, event, jobs or {REF: job(state, **fields)}, now or context())


def intended(**fields: object) -> Submission:
    """A submission whose POST may be out."""
    return submission(INTENDED, **fields)


# Intents.


@pytest.mark.parametrize("before", [submission(), submission(counters=Counters(submits=2), due_ms=5)])
def test_an_intent_is_durable_counts_an_attempt_and_names_its_files(before: Submission) -> None:
    after = answer(before, Intended(NOW_MS, -7))
    assert after == SubmissionTransition(
        replace(
            before,
            state=INTENDED,
            due_ms=0,
            counters=Counters(submits=before.counters.submits + 1),
            intent=Intent(NOW_MS, -7, 1, files_digest([URL])),
        ),
        durable=True,
        to_jobs=((REF, PostIntended()),),
    )


def test_an_intent_names_no_job_that_ended_or_is_overdue() -> None:
    jobs = jobs_of(FOUR)
    jobs[REFS[1]] = replace(jobs[REFS[1]], state=JobState.FINISHING)
    jobs[REFS[2]] = replace(jobs[REFS[2]], request=replace(FOUR, deadline_ms=NOW_MS))
    after = answer(submission_of(FOUR), Intended(NOW_MS), jobs=jobs)
    assert after.submission.jobs == (REFS[0], REFS[3])
    assert after.submission.intent == Intent(NOW_MS, None, 2, files_digest([url(0), url(3)]))
    assert after.to_jobs == (
        (REFS[2], DeadlinePassed()),
        (REFS[0], PostIntended()),
        (REFS[3], PostIntended()),
    )


def test_a_submission_whose_jobs_are_all_overdue_is_not_posted() -> None:
    after = answer(submission(), Intended(DEADLINE_MS), context(DEADLINE_MS))
    assert after == SubmissionTransition(
        submission(jobs=()), to_jobs=((REF, DeadlinePassed()),), is_over=True
    )


def test_a_job_whose_result_may_be_out_is_posted_beyond_its_deadline() -> None:
    after = answer(submission(), Intended(DEADLINE_MS), context(DEADLINE_MS), must_be_result=True)
    assert after.submission.state is INTENDED


def test_an_intent_takes_no_more_files_than_a_post_may_hold_and_divides_off_the_others() -> None:
    before = submission_of(FOUR, counters=Counters(refusals=1))
    after = answer(before, Intended(NOW_MS, max_files=3), jobs=jobs_of(FOUR))
    assert after.submission.jobs == REFS[:3]
    assert after.submission.intent == Intent(NOW_MS, None, 3, files_digest([url(n) for n in range(3)]))
    assert after.successors == (Successor(REFS[3:], "fun-asr", Counters(refusals=1), NOW_MS),)
    assert [ref for ref, _ in after.to_jobs] == list(REFS[:3])
    assert answer(before, Intended(NOW_MS, max_files=4), jobs=jobs_of(FOUR)).successors == ()


def test_a_successor_is_a_submission_of_its_own_that_goes_on_counting() -> None:
    made = Successor(REFS[1:2], "fun-asr", Counters(2, 1, 1), NOW_MS + 5).submission(SUBMISSION, NOW_MS)
    assert made == Submission(
        SUBMISSION, "fun-asr", REFS[1:2], NOW_MS, due_ms=NOW_MS + 5, counters=Counters(2, 1, 1)
    )


# Before the POST.


def test_a_list_that_cannot_be_had_ends_the_jobs_before_they_are_billed() -> None:
    provider_error = ProviderError("vocabulary_other_model", "made for another model")
    after = answer(submission(), HotwordListRefused(provider_error))
    [(ref, event)] = after.to_jobs
    assert ref == REF
    assert isinstance(event, SubmitFailed)
    assert (event.provider_error, event.policy.code) == (provider_error, FailureCode.VOCABULARY_UNUSABLE)
    assert (after.is_over, after.durable, after.steps) == (True, False, ())


def test_a_restored_submission_is_due_when_it_was_due() -> None:
    before = submission(due_ms=NOW_MS + 5)
    assert answer(before, SubmissionRestored()) == SubmissionTransition(
        before, steps=(QueueSubmit(SUBMISSION, NOW_MS + 5),)
    )


def test_a_restored_submission_whose_job_was_cancelled_is_not_posted() -> None:
    after = answer(submission(), SubmissionRestored(), cancelled=True)
    assert after == SubmissionTransition(submission(jobs=()), to_jobs=((REF, CancelAsked()),), is_over=True)


def test_a_waiting_submission_goes_on_with_the_jobs_that_are_left() -> None:
    jobs = jobs_of(FOUR)
    del jobs[REFS[1]]
    after = answer(submission_of(FOUR), JobsLeft(is_unwanted=True), jobs=jobs)
    assert (after.submission.jobs, after.is_over) == ((REFS[0], REFS[2], REFS[3]), False)
    over = advance_submission(submission_of(FOUR), JobsLeft(), {}, context())
    assert (over.submission.jobs, over.is_over, over.steps) == ((), True, ())


# Answers to the POST.


def test_an_accepted_post_makes_the_submission_run_and_is_polled() -> None:
    after = answer(intended(), Posted("t9"))
    assert after == SubmissionTransition(
        replace(
            intended(),
            state=SubmissionState.RUNNING,
            task_id="t9",
            submitted_ms=NOW_MS - 50,
            counters=Counters(submits=1, tasks_made=1),
            intent=Intent(NOW_MS - 50, None, 1, ""),
        ),
        durable=True,
        steps=(Poll(SUBMISSION, "t9", NOW_MS + 1_000),),
        to_jobs=((REF, TaskMade("t9", 1, NOW_MS - 50)),),
    )


def test_every_job_of_a_post_learns_its_task_in_one_answer_also_those_of_other_requests() -> None:
    packed = submission_of(FOUR, INTENDED)
    other = request(origin=Origin(0, 99), request_id="other")
    jobs = jobs_of(FOUR, JobState.SUBMITTED) | jobs_of(other, JobState.SUBMITTED)
    packed = replace(packed, jobs=(*REFS, other.ref(0)), intent=Intent(NOW_MS, None, 5, "d"))
    after = answer(packed, Posted("t9"), jobs=jobs)
    assert after.to_jobs == tuple((ref, TaskMade("t9", 5, NOW_MS)) for ref in (*REFS, other.ref(0)))


def test_the_answer_of_a_synchronous_model_is_its_jobs_alone() -> None:
    bill = Bill(seconds=3)
    after = answer(intended(model="qwen3-asr-flash"), SubmitAnswered(transcript(), bill))
    assert after.to_jobs == ((REF, Transcribed(transcript(), bill, NOW_MS - 50)),)
    assert (after.is_over, after.durable, after.submission.counters.tasks_made) == (True, False, 1)


def test_an_account_reason_costs_no_attempt_and_no_job() -> None:
    after = answer(intended(), SubmitRefused(NO_KEY))
    assert after == SubmissionTransition(
        submission(due_ms=NOW_MS),
        durable=True,
        steps=(QueueSubmit(SUBMISSION, NOW_MS),),
        to_jobs=((REF, GivenBack("no such key")),),
    )


def test_a_throttled_post_waits_at_least_as_long_as_the_provider_asks() -> None:
    after = answer(intended(), SubmitRefused(THROTTLED), context(draw=0.0))
    assert (after.submission.state, after.submission.due_ms) == (WAITING, NOW_MS + 4_000)
    assert (after.submission.intent, after.submission.counters.submits) == (None, 1)
    assert after.durable
    assert after.steps == (QueueSubmit(SUBMISSION, NOW_MS + 4_000),)
    assert after.to_jobs == ((REF, GivenBack("slow down")),)


def refusal(
    counters: Counters, provider_error: ProviderError, *, is_circuit_open: bool = False
) -> SubmissionTransition:
    return answer(intended(counters=counters), SubmitRefused(provider_error, is_circuit_open))


def test_a_provider_fault_is_tried_as_often_as_the_table_allows() -> None:
    before_last = refusal(Counters(1, PROVIDER_FAULT_ATTEMPTS - 2), FAULT)
    assert before_last.to_jobs == ((REF, GivenBack("oops")),)
    last = refusal(Counters(1, PROVIDER_FAULT_ATTEMPTS - 1), FAULT)
    [(_, event)] = last.to_jobs
    assert isinstance(event, SubmitFailed)
    assert event.policy.code is FailureCode.PROVIDER_ERROR
    assert last.is_over


def test_throttling_uses_up_none_of_the_attempts_that_the_table_bounds() -> None:
    throttled = refusal(Counters(500), ProviderError("Throttling.RateQuota", "slow", 429)).submission
    assert (throttled.state, throttled.counters) == (WAITING, Counters(500, 0))
    assert refusal(Counters(500), FAULT).submission.counters == Counters(500, 1)


def test_a_refusal_during_an_outage_does_not_count_against_the_jobs() -> None:
    counters = Counters(1, PROVIDER_FAULT_ATTEMPTS - 1)
    kept = refusal(counters, FAULT, is_circuit_open=True)
    assert (kept.submission.state, kept.submission.counters) == (WAITING, counters)
    assert refusal(counters, FAULT).is_over


def test_a_rejected_request_ends_its_jobs_and_leaves_no_submission_that_others_wait_for() -> None:
    after = answer(intended(), SubmitRefused(REJECTED))
    [(_, event)] = after.to_jobs
    assert isinstance(event, SubmitFailed)
    assert (event.provider_error, event.policy.code, event.may_be_billed) == (
        REJECTED,
        FailureCode.SUBMIT_REJECTED,
        False,
    )
    left = after.submission
    # Were the journal to say that no job is in it before the endings are durable, its counters were lost.
    assert (left.state, left.jobs, left.intent) == (WAITING, (REF,), None)
    assert (after.durable, after.is_over) == (True, True)


def test_silence_reported_by_a_refusal_fails_no_job() -> None:
    [(_, event)] = answer(intended(), SubmitRefused(SILENCE)).to_jobs
    assert isinstance(event, SubmitFailed)
    assert event.policy.action == "empty"


@pytest.mark.parametrize("event", [SubmitRefused(REJECTED), SubmitRefused(SILENCE)])
@pytest.mark.parametrize(
    "mate",
    [job(JobState.SUBMITTED, cancelled=True), job(JobState.SUBMITTED, request=request(deadline_ms=NOW_MS))],
)
def test_a_cancel_or_a_deadline_goes_before_the_policy_on_a_refusal(
    event: SubmissionEvent, mate: Job
) -> None:
    after = answer(intended(), event, jobs={REF: mate})
    assert [type(told) for _, told in after.to_jobs] == [GivenBack]
    assert after.is_over


def test_what_was_never_sent_costs_no_attempt() -> None:
    after = answer(intended(counters=Counters(3)), SubmitNotSent(NO_ROUTE), context(draw=0.0))
    assert (after.submission.state, after.submission.counters) == (WAITING, Counters(2))
    assert (after.submission.due_ms, after.durable) == (NOW_MS, True)


@pytest.mark.parametrize("event", [SubmitRefused(THROTTLED), SubmitRefused(NO_KEY), SubmitNotSent(NO_ROUTE)])
def test_a_post_that_made_no_task_is_made_again_without_the_jobs_that_are_not_wanted(
    event: SubmissionEvent,
) -> None:
    jobs = jobs_of(FOUR, JobState.SUBMITTED)
    jobs[REFS[0]] = replace(jobs[REFS[0]], cancelled=True)
    jobs[REFS[1]] = replace(jobs[REFS[1]], request=replace(FOUR, deadline_ms=NOW_MS))
    del jobs[REFS[2]]
    after = answer(submission_of(FOUR, INTENDED), event, jobs=jobs)
    assert (after.submission.jobs, after.is_over) == ((REFS[3],), False)
    assert [ref for ref, _ in after.to_jobs] == [REFS[0], REFS[1], REFS[3]]
    assert len(after.steps) == 1


@pytest.mark.parametrize(
    "event",
    [SubmitRefused(THROTTLED), SubmitRefused(NO_KEY), SubmitRefused(REJECTED), SubmitNotSent(NO_ROUTE)],
)
def test_a_post_without_task_and_open_jobs_ends_and_is_journalled(
    event: SubmissionEvent,
) -> None:
    for jobs in ({}, {REF: job(JobState.SUBMITTED, cancelled=True)}):
        after = advance_submission(intended(), event, jobs, context())
        assert (after.is_over, after.durable, after.steps) == (True, True, ())
        assert (after.submission.state, after.submission.intent) == (WAITING, None)


# Submits of several requests.

OTHER = request_of(2, origin=Origin(FOUR.origin.generation, 99), request_id="other")
OTHERS = tuple(OTHER.ref(n) for n in range(2))
PACK = replace(submission_of(FOUR, INTENDED), jobs=(*REFS, *OTHERS), intent=Intent(NOW_MS, None, 6, "d"))
PACKED = jobs_of(FOUR, JobState.SUBMITTED) | jobs_of(OTHER, JobState.SUBMITTED)
OVERLOADED = ProviderError("ServiceUnavailable", "busy", 503)
NO_MODEL = ProviderError("ModelNotFound", "no such model", 404)
NO_RIGHT = ProviderError("Model.AccessDenied", "no", 403)


@pytest.mark.parametrize(
    "event",
    [
        SubmitRefused(THROTTLED),
        SubmitRefused(OVERLOADED),
        SubmitRefused(NO_KEY),
        SubmitRefused(FAULT, is_circuit_open=True),
        SubmitNotSent(NO_ROUTE),
    ],
)
def test_what_says_nothing_of_the_requests_leaves_a_pack_together(event: SubmissionEvent) -> None:
    after = answer(PACK, event, jobs=PACKED)
    assert (after.submission.jobs, after.successors) == (PACK.jobs, ())
    assert (after.submission.state, after.submission.counters.refusals) == (WAITING, 0)


def test_a_refusal_that_counts_divides_a_pack_by_request_and_is_counted() -> None:
    after = answer(PACK, SubmitRefused(FAULT), context(draw=0.0), jobs=PACKED)
    due_ms, counters = after.submission.due_ms, Counters(submits=1, refusals=1)
    assert (after.submission.jobs, after.submission.counters) == (REFS, counters)
    assert after.successors == (Successor(OTHERS, "fun-asr", counters, due_ms),)
    alone = answer(intended(), SubmitRefused(FAULT), context(draw=0.0))
    assert due_ms == alone.submission.due_ms


@pytest.mark.parametrize("provider_error", [NO_MODEL, NO_RIGHT])
def test_a_refusal_that_ends_jobs_ends_none_of_a_pack_but_divides_it_by_request(
    provider_error: ProviderError,
) -> None:
    after = answer(PACK, SubmitRefused(provider_error), jobs=PACKED)
    assert (after.is_over, after.submission.jobs, after.submission.state) == (False, REFS, WAITING)
    assert after.successors == (Successor(OTHERS, "fun-asr", Counters(), NOW_MS),)
    assert {type(event) for _, event in after.to_jobs} == {GivenBack}
    one = answer(submission_of(FOUR, INTENDED), SubmitRefused(provider_error), jobs=jobs_of(FOUR))
    assert one.is_over


def test_a_refusal_that_may_be_about_one_file_divides_a_pack_into_files() -> None:
    after = answer(PACK, SubmitRefused(BAD_FILE), jobs=PACKED)
    assert after.submission.jobs == REFS[:1]
    assert [each.jobs for each in after.successors] == [(ref,) for ref in (*REFS[1:], *OTHERS)]


def test_a_task_that_may_exist_is_never_posted_again_by_a_refusal() -> None:
    after = answer(PACK, SubmitRefused(ProviderError("RequestTimeOut", "late", 408)), jobs=PACKED)
    assert (after.is_over, after.successors) == (True, ())


def test_a_pack_whose_other_requests_ended_meanwhile_is_of_one_request() -> None:
    after = answer(PACK, SubmitRefused(NO_MODEL), jobs=jobs_of(FOUR, JobState.SUBMITTED))
    assert after.is_over


def test_a_job_that_left_while_the_post_was_out_leaves_the_answer_to_come() -> None:
    before = submission_of(FOUR, INTENDED)
    assert advance_submission(before, JobsLeft(), {}, context()) == SubmissionTransition(before)


# Submits of several files.


def refused_together(provider_error: ProviderError, count: int = 4, **fields: object) -> SubmissionTransition:
    asked = request_of(count)
    before = submission_of(asked, INTENDED, counters=Counters(3, 1), **fields)
    return answer(before, SubmitRefused(provider_error), jobs=jobs_of(asked, JobState.SUBMITTED))


def test_a_refused_number_of_files_is_halved_in_one_answer_and_costs_no_attempt() -> None:
    after = refused_together(TOO_MANY, 5)
    asked = request_of(5)
    assert after.submission.jobs == (asked.ref(0), asked.ref(1))
    assert (after.submission.state, after.submission.counters) == (WAITING, Counters(2, 1))
    assert [part.jobs for part in after.successors] == [(asked.ref(2), asked.ref(3)), (asked.ref(4),)]
    assert {(part.counters, part.due_ms) for part in after.successors} == {(Counters(2, 1), NOW_MS)}
    assert {type(told) for _, told in after.to_jobs} == {GivenBack}
    assert (len(after.to_jobs), after.durable) == (5, True)
    assert after.steps == (QueueSubmit(SUBMISSION, NOW_MS),)


@pytest.mark.parametrize(
    "code",
    [
        "InvalidURL",
        "DataInspectionFailed",
        "BadRequest.InputDownloadFailed",
        "InvalidFile.Size",
        "InvalidFile.X",
    ],
)
def test_a_fault_of_one_file_is_not_that_of_the_files_beside_it(code: str) -> None:
    after = refused_together(ProviderError(code, "no", 400))
    assert after.submission.jobs == REFS[:1]
    assert [part.jobs for part in after.successors] == [(ref,) for ref in REFS[1:]]
    assert after.submission.counters == Counters(2, 1)
    alone = answer(intended(), SubmitRefused(ProviderError(code, "no", 400)))
    assert not alone.successors
    assert alone.submission.counters.submits == 1


@pytest.mark.parametrize("provider_error", [TOO_MANY, BAD_FILE])
def test_a_job_that_is_not_wanted_is_in_no_part(provider_error: ProviderError) -> None:
    jobs = jobs_of(FOUR, JobState.SUBMITTED)
    jobs[REFS[0]] = replace(jobs[REFS[0]], cancelled=True)
    after = answer(submission_of(FOUR, INTENDED), SubmitRefused(provider_error), jobs=jobs)
    parts = [after.submission.jobs, *(part.jobs for part in after.successors)]
    assert [ref for part in parts for ref in part] == list(REFS[1:])
    cancelled = {ref: replace(each, cancelled=True) for ref, each in jobs.items()}
    over = answer(submission_of(FOUR, INTENDED), SubmitRefused(provider_error), jobs=cancelled)
    assert (over.is_over, over.successors, over.steps) == (True, (), ())


def test_a_refusal_of_all_files_alike_ends_them_all() -> None:
    after = refused_together(ProviderError("ModelNotFound", "no", 400))
    assert [type(told) for _, told in after.to_jobs] == [SubmitFailed] * 4
    assert not after.successors


def test_a_foreign_answer_ends_the_jobs_after_a_few() -> None:
    page = ProviderError("http_error", "a page", 404)
    assert refusal(Counters(1, FOREIGN_ANSWER_ATTEMPTS - 1), page).is_over
    assert not refusal(Counters(1, FOREIGN_ANSWER_ATTEMPTS - 2), page).is_over
