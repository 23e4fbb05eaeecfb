"""Submissions that are uncertain: the answer was lost, or a crash came between the intent and the answer."""

from dataclasses import replace

import pytest

from service.core.job.events import (
    Adopted,
    CancelAsked,
    DeadlinePassed,
    GivenBack,
    JobsLeft,
    NotFound,
    OutOfReach,
    Poll,
    Reconcile,
    SubmissionEvent,
    SubmissionRestored,
    SubmitFailed,
    SubmitLost,
    TaskMade,
)
from service.core.job.identity import JobRef, Origin
from service.core.job.job import Job, JobState
from service.core.job.submission import Counters, Submission, SubmissionState
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import Rules, SubmissionTransition, Successor
from service.core.job.uncertainty import UncertainOutcome
from service.core.provider.answers import ProviderError
from service.errors import FailureCode
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    ORIGIN,
    REF,
    SUBMISSION,
    context,
    job,
    jobs_of,
    request_of,
    submission,
    submission_of,
)

LOST = SubmitLost(ProviderError("timeout", "no answer"))
CRASHED = SubmissionRestored()
RULES = Rules(submit_seconds=30.0, settle_seconds=60.0)
FAIL, RESUBMIT = replace(RULES, uncertain="fail"), replace(RULES, uncertain="resubmit")
INTENDED = submission(SubmissionState.INTENDED)
UNCERTAIN = submission(SubmissionState.UNCERTAIN)
SUBMITTED = job(JobState.SUBMITTED)
POLL_MS, OUT_MS, SETTLE_MS = 2_000, 32_000, 60_000
LEFT = replace(UNCERTAIN, state=SubmissionState.WAITING, intent=None)
"""One whose task is looked for no more."""
THREE = request_of(3)
REFS = tuple(THREE.ref(n) for n in range(3))


def answer(
    before: Submission,
    event: SubmissionEvent,
    now_ms: int = NOW_MS,
    rules: Rules = RULES,
    jobs: dict[JobRef, Job] | None = None,
) -> SubmissionTransition:
    """What the submission answers, with its one job beside it unless others are given."""
    return advance_submission(
        before, event, {REF: SUBMITTED} if jobs is None else jobs, context(now_ms, rules=rules)
    )


def mixed() -> dict[JobRef, Job]:
    """A job that is wanted, one whose cancel is noted, one that is overdue."""
    wanted, cancelled, overdue = jobs_of(THREE, JobState.SUBMITTED).values()
    late = replace(overdue, request=replace(THREE, deadline_ms=NOW_MS))
    return dict(zip(REFS, (wanted, replace(cancelled, cancelled=True), late), strict=True))


def test_a_lost_answer_is_reconciled_soon_although_the_task_may_appear_late() -> None:
    assert answer(INTENDED, LOST) == SubmissionTransition(
        replace(UNCERTAIN, due_ms=NOW_MS + POLL_MS),
        durable=True,
        steps=(Reconcile(SUBMISSION, NOW_MS + POLL_MS, NOW_MS + SETTLE_MS),),
        uncertain_outcomes=(UncertainOutcome.BEGUN,),
    )


def test_after_a_crash_the_former_owners_post_may_still_be_out() -> None:
    after = answer(INTENDED, CRASHED)
    assert (after.submission.state, after.durable) == (SubmissionState.UNCERTAIN, True)
    assert after.steps == (Reconcile(SUBMISSION, NOW_MS + OUT_MS, NOW_MS + OUT_MS + SETTLE_MS),)
    assert after.uncertain_outcomes == (UncertainOutcome.BEGUN,)


def test_a_new_owner_asks_anew_by_its_own_clock() -> None:
    after = answer(UNCERTAIN, CRASHED, NOW_MS + 5)
    assert after.submission.state is SubmissionState.UNCERTAIN
    assert after.steps == (Reconcile(SUBMISSION, NOW_MS + 5 + OUT_MS, NOW_MS + 5 + OUT_MS + SETTLE_MS),)
    assert (after.durable, after.uncertain_outcomes) == (False, ())


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_jobs_that_are_not_wanted_end_when_the_uncertainty_begins(event: SubmissionEvent) -> None:
    after = answer(submission_of(THREE, SubmissionState.INTENDED), event, jobs=mixed())
    [cancelled, overdue] = after.to_jobs
    assert cancelled == (REFS[1], CancelAsked())
    assert overdue[0] == REFS[2]
    assert isinstance(overdue[1], DeadlinePassed)
    assert overdue[1].reason
    assert after.uncertain_outcomes == (UncertainOutcome.BEGUN,) * 3
    assert after.submission.jobs == REFS


def test_a_cancel_that_was_noted_before_a_crash_ends_its_job_under_the_next_owner() -> None:
    after = answer(submission_of(THREE, SubmissionState.UNCERTAIN), CRASHED, jobs=mixed())
    assert after.to_jobs == ((REFS[1], CancelAsked()),)


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_policy_ends_the_jobs_instead_whatever_their_deadline(event: SubmissionEvent) -> None:
    before = submission_of(THREE, SubmissionState.INTENDED)
    after = answer(before, event, rules=FAIL, jobs=mixed())
    told = dict(after.to_jobs)
    assert told[REFS[1]] == GivenBack(told[REFS[1]].reason, may_be_billed=True)  # type: ignore[union-attr]
    for ref in (REFS[0], REFS[2]):
        failed = told[ref]
        assert isinstance(failed, SubmitFailed)
        assert (failed.policy.code, failed.policy.retryable) == (FailureCode.SUBMIT_UNCERTAIN, True)
        assert (failed.may_be_billed, failed.provider_error.provider_code) == (True, None)
    # A restore that finds the jobs open must find them uncertain: the record stays as it was.
    assert (after.submission, after.durable, after.is_over, after.steps) == (before, False, True, ())
    assert after.uncertain_outcomes == (UncertainOutcome.BEGUN,) * 3


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_policy_submits_again_at_once_in_a_submission_of_its_own(event: SubmissionEvent) -> None:
    after = answer(submission_of(THREE, SubmissionState.INTENDED), event, rules=RESUBMIT, jobs=mixed())
    assert after.successors == (Successor(REFS[:1], "fun-asr", Counters(1), NOW_MS),)
    assert [ref for ref, _ in after.to_jobs] == list(REFS)
    assert all(isinstance(told, GivenBack) and told.may_be_billed for _, told in after.to_jobs)
    left = after.submission
    assert (left.state, left.intent, after.durable, after.is_over) == (
        SubmissionState.WAITING,
        None,
        True,
        True,
    )
    assert after.uncertain_outcomes == (*(UncertainOutcome.BEGUN,) * 3, UncertainOutcome.RESUBMITTED)


@pytest.mark.parametrize("rules", [FAIL, RESUBMIT])
@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_policy_reconciles_no_task_without_open_jobs(event: SubmissionEvent, rules: Rules) -> None:
    after = answer(INTENDED, event, rules=rules, jobs={})
    assert (after.is_over, after.steps, after.successors) == (True, (), ())


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_task_without_open_jobs_is_still_reconciled_for_its_bill(event: SubmissionEvent) -> None:
    after = answer(INTENDED, event, jobs={})
    assert (after.submission.state, after.is_over) == (SubmissionState.UNCERTAIN, False)
    assert len(after.steps) == 1
    followed = replace(UNCERTAIN, is_followed=True)
    assert answer(UNCERTAIN, JobsLeft(is_unwanted=True)) == SubmissionTransition(UNCERTAIN)
    assert answer(UNCERTAIN, JobsLeft(is_unwanted=True), jobs={}) == SubmissionTransition(
        followed, durable=True
    )
    assert answer(followed, JobsLeft(is_unwanted=True), jobs={}) == SubmissionTransition(followed)
    found = answer(UNCERTAIN, Adopted("t9"), jobs={})
    assert (found.submission.state, found.submission.is_followed) == (SubmissionState.RUNNING, True)
    assert found.steps == (Poll(SUBMISSION, "t9", NOW_MS),)
    over = answer(followed, NotFound(), jobs={})
    assert over == SubmissionTransition(LEFT, durable=True, is_over=True)
    assert answer(followed, OutOfReach(), jobs={}) == SubmissionTransition(followed, is_over=True)


def test_an_adopted_task_runs_since_its_submit_and_is_polled_at_once_also_after_a_deadline() -> None:
    for now_ms in (NOW_MS, DEADLINE_MS):
        after = answer(UNCERTAIN, Adopted("t9"), now_ms)
        assert UNCERTAIN.intent is not None
        intended_ms = UNCERTAIN.intent.intended_ms
        assert after == SubmissionTransition(
            replace(
                UNCERTAIN,
                state=SubmissionState.RUNNING,
                task_id="t9",
                submitted_ms=intended_ms,
                counters=Counters(1, tasks_made=1),
                intent=UNCERTAIN.intent._replace(files_digest=""),
            ),
            durable=True,
            steps=(Poll(SUBMISSION, "t9", now_ms),),
            to_jobs=((REF, TaskMade("t9", 1, intended_ms)),),
            uncertain_outcomes=(UncertainOutcome.ADOPTED,),
        )


def test_a_task_adopted_by_a_submission_without_a_time_runs_since_now() -> None:
    after = answer(replace(UNCERTAIN, intent=None), Adopted("t9"))
    assert after.submission.submitted_ms == NOW_MS
    assert after.to_jobs == ((REF, TaskMade("t9", 1, NOW_MS)),)


def test_what_made_no_task_is_submitted_again_at_once_and_the_old_submission_is_asked_for_no_more() -> None:
    before = replace(UNCERTAIN, counters=Counters(4, 3, 2))
    after = answer(before, NotFound())
    assert after == SubmissionTransition(
        replace(LEFT, counters=Counters(4, 3, 2)),
        durable=True,
        to_jobs=((REF, GivenBack()),),
        successors=(Successor((REF,), "fun-asr", Counters(4, 3, 2), NOW_MS),),
        uncertain_outcomes=(UncertainOutcome.RESUBMITTED,),
        is_over=True,
    )


@pytest.mark.parametrize("is_found", [True, False])
def test_a_pack_is_found_as_one_and_posted_again_request_by_request(is_found: bool) -> None:
    one, other = request_of(2), request_of(1, origin=Origin(ORIGIN.generation, 99), request_id="other")
    jobs = jobs_of(one, JobState.SUBMITTED) | jobs_of(other, JobState.SUBMITTED)
    pack = replace(UNCERTAIN, jobs=tuple(jobs))
    after = answer(pack, Adopted("t9") if is_found else NotFound(), jobs=jobs)
    assert [ref for ref, _ in after.to_jobs] == list(jobs)
    refs = [each.jobs for each in after.successors]
    assert refs == ([] if is_found else [(one.ref(0), one.ref(1)), (other.ref(0),)])
    assert len(after.uncertain_outcomes) == 3


def test_a_submit_that_has_left_the_list_is_the_users_to_weigh() -> None:
    after = answer(UNCERTAIN, OutOfReach())
    [(_, event)] = after.to_jobs
    assert isinstance(event, SubmitFailed)
    assert (event.policy.code, event.policy.retryable) == (FailureCode.SUBMIT_UNCERTAIN, True)
    assert event.may_be_billed
    assert (after.submission, after.durable, after.is_over) == (UNCERTAIN, False, True)
