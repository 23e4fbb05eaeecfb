"""Jobs of models that answer a submit with the transcript: no task, and nothing to look for."""

from dataclasses import replace

import pytest

from service.core.doubting import MOST_LOST_CALLS
from service.core.ending import FailureEnding, ResultEnding
from service.core.entry import Marker, decode, encode_job
from service.core.events import (
    CancelAsked,
    DeadlinePassed,
    Event,
    Intended,
    QueueSubmit,
    Restored,
    SubmitLost,
    SubmitRefused,
    Transcribed,
)
from service.core.job import Job, State
from service.core.moment import Doubt, Rules, Transition
from service.core.outcomes import OutcomeRules, job_outcome
from service.core.price import Price
from service.core.shard import Shard
from service.core.task import Bill, Trouble
from service.core.transitions import advance
from service.errors import FailureCode
from service.messages import Failure, Result
from tests.unit.core.samples import DEADLINE_MS, KEY, NOW_MS, job, moment, spec, transcript

SPEC = spec(model="qwen3-asr-flash")
LOST = SubmitLost(Trouble("timeout", "no answer within 300 s"))
BILL = Bill(seconds=3, input_tokens=83, output_tokens=6)
HEARD = Transcribed(transcript("Hello."), BILL)


def calling(**fields: object) -> Job:
    """A job whose call is out."""
    return job(State.SUBMITTING, spec=SPEC, **fields)


def ending_of(answer: Transition) -> FailureEnding:
    assert answer.job.state is State.FINISHING
    assert isinstance(answer.job.ending, FailureEnding)
    return answer.job.ending


def test_the_answer_is_the_result_with_its_bill() -> None:
    answer = advance(calling(), HEARD, moment())
    assert answer.durable
    assert answer.job.ending == ResultEnding(HEARD.transcript)
    body = job_outcome(answer.job, None, NOW_MS, OutcomeRules()).body
    assert isinstance(body, Result)
    assert body.task_id is None
    assert body.usage.billed_seconds == body.usage.task_billed_seconds == 3
    assert (body.usage.input_tokens, body.usage.output_tokens, body.usage.estimated) == (83, 6, False)
    assert body.times.submitted_at is not None
    assert body.times.completed_at is not None
    assert body.attempts.poll == body.attempts.fetch == 0


def test_seconds_that_follow_from_tokens_are_told_as_an_estimate() -> None:
    answer = advance(calling(), replace(HEARD, bill=Bill(seconds=4, is_estimated=True)), moment())
    body = job_outcome(answer.job, None, NOW_MS, OutcomeRules()).body
    assert isinstance(body, Result)
    assert body.usage.estimated


def test_an_answer_that_is_paid_for_is_delivered_after_the_deadline() -> None:
    answer = advance(calling(), HEARD, moment(DEADLINE_MS + 1))
    assert isinstance(answer.job.ending, ResultEnding)


def test_an_answer_without_a_word_is_silence() -> None:
    answer = advance(calling(), Transcribed(transcript("")), moment())
    assert answer.job.ending == ResultEnding(replace(transcript(""), channels=()), silent=True)


def test_a_cancelled_job_ends_cancelled_and_its_bill_is_told() -> None:
    noted = advance(calling(), CancelAsked(), moment()).job
    answer = advance(noted, HEARD, moment())
    assert ending_of(answer).code is FailureCode.CANCELLED
    assert answer.job.task_billed_seconds == 3


@pytest.mark.parametrize("code", ["SUCCESS_WITH_NO_VALID_FRAGMENT", "ASR_RESPONSE_HAVE_NO_WORDS"])
def test_silence_told_by_a_code_is_an_empty_result(code: str) -> None:
    answer = advance(calling(), SubmitRefused(Trouble(code, "no speech", 400)), moment())
    assert isinstance(answer.job.ending, ResultEnding)
    assert answer.job.ending.silent
    assert answer.job.ending.transcript.channels == ()


@pytest.mark.parametrize("event", [LOST, Restored()])
def test_a_lost_call_is_made_again_after_a_moment_and_counted(event: Event) -> None:
    answer = advance(calling(), event, moment())
    assert (answer.job.state, answer.job.lost_calls) == (State.WAITING, 1)
    assert answer.durable
    assert answer.steps == (QueueSubmit(KEY, NOW_MS + 500),)
    assert answer.doubts == (Doubt.BEGUN, Doubt.RESUBMITTED)


def test_calls_are_lost_a_bounded_number_of_times_over_all_crashes() -> None:
    waiting = calling()
    for _ in range(MOST_LOST_CALLS - 1):
        lost = advance(waiting, Restored(), moment()).job
        entry = decode(str(KEY), encode_job(lost))
        assert isinstance(entry, Job)
        waiting = advance(entry, Intended(NOW_MS), moment()).job
    ending = ending_of(advance(waiting, LOST, moment()))
    assert ending.code is FailureCode.SUBMIT_UNCERTAIN
    assert "3 times" in ending.message


def test_with_the_policy_fail_no_call_is_made_twice() -> None:
    answer = advance(calling(), LOST, moment(rules=Rules(uncertain="fail")))
    assert ending_of(answer).code is FailureCode.SUBMIT_UNCERTAIN
    assert answer.doubts == (Doubt.BEGUN, Doubt.FAILED)


@pytest.mark.parametrize("uncertain", ["reconcile", "resubmit"])
def test_the_other_policies_treat_a_lost_call_alike(uncertain: str) -> None:
    rules = Rules(uncertain=uncertain)  # type: ignore[arg-type]
    assert advance(calling(), LOST, moment(rules=rules)).job.state is State.WAITING


def test_a_lost_call_past_its_deadline_is_not_repeated() -> None:
    assert ending_of(advance(calling(), LOST, moment(DEADLINE_MS))).code is FailureCode.DEADLINE_EXCEEDED


def test_a_stream_that_broke_off_with_a_verdict_is_not_repeated() -> None:
    refused = SubmitLost(Trouble("data_inspection_failed", "not allowed"))
    assert ending_of(advance(calling(), refused, moment())).code is FailureCode.CONTENT_REJECTED
    fault = SubmitLost(Trouble("internal_error", "oops"))
    assert advance(calling(), fault, moment()).job.state is State.WAITING


def test_an_answer_that_is_no_transcript_fails_the_job() -> None:
    unread = SubmitRefused(Trouble("not_a_transcript", "the answer is no transcript"))
    assert ending_of(advance(calling(), unread, moment())).code is FailureCode.RESULT_UNREADABLE


# With at_least_once the kind of outcome is journalled before the outcome goes out.


def restored_result() -> Job:
    """A job whose result may be out, read back after a crash that took its transcript."""
    finishing = replace(advance(calling(), HEARD, moment()).job, ending=None)
    entry = decode(str(KEY), encode_job(finishing))
    assert isinstance(entry, Job)
    return advance(entry, Restored(), moment()).job


def test_a_result_that_may_be_out_is_called_for_again() -> None:
    again = restored_result()
    assert (again.state, again.must_be_result, again.lost_calls) == (State.WAITING, True, 1)
    intended = advance(again, Intended(NOW_MS), moment(DEADLINE_MS + 1)).job
    assert intended.state is State.SUBMITTING
    assert isinstance(advance(intended, HEARD, moment(DEADLINE_MS + 1)).job.ending, ResultEnding)


def test_neither_a_cancel_nor_the_deadline_turns_it_into_a_failure() -> None:
    again = restored_result()
    assert advance(again, CancelAsked(), moment()).job == again
    assert advance(again, DeadlinePassed(), moment(DEADLINE_MS)).job == again
    intended = advance(again, Intended(NOW_MS), moment()).job
    assert advance(intended, CancelAsked(), moment()).job == intended
    lost = advance(intended, LOST, moment(DEADLINE_MS + 1)).job
    assert (lost.state, lost.lost_calls) == (State.WAITING, 2)


def test_what_cannot_be_heard_again_ends_as_an_expired_result() -> None:
    intended = advance(restored_result(), Intended(NOW_MS), moment()).job
    refused = SubmitRefused(Trouble("InvalidURL", "gone", 400))
    ending = ending_of(advance(intended, refused, moment()))
    assert ending.code is FailureCode.RESULT_EXPIRED


def test_tokens_without_seconds_cost_what_their_price_says() -> None:
    shard = Shard(0, prices={"qwen3-asr-flash": Price(per_input_token=0.5, per_output_token=2.0)})
    shard.open_request([job(spec=SPEC)])
    shard.apply(KEY, Intended(NOW_MS), moment())
    heard = Transcribed(transcript("Hello."), Bill(input_tokens=10, output_tokens=3))
    [move] = shard.apply(KEY, heard, moment()).moves
    assert (shard.spend.on(NOW_MS), shard.spend.cost_on(NOW_MS)) == (0, 11.0)
    marker = decode(str(KEY), move.entry or b"")
    assert isinstance(marker, Marker)
    assert (marker.billed_seconds, marker.cost) == (None, 11.0)


def test_its_outcome_is_a_failure_with_the_models_name_when_it_fails() -> None:
    shard = Shard(0)
    shard.open_request([job(spec=SPEC)])
    shard.apply(KEY, Intended(NOW_MS), moment())
    change = shard.apply(KEY, SubmitRefused(Trouble("BadRequest.TooLarge", "too large", 400)), moment())
    outcome = change.moves[0].outcome
    assert outcome is not None
    assert isinstance(outcome.body, Failure)
    assert (outcome.body.code, outcome.body.model) == (FailureCode.AUDIO_TOO_LARGE, "qwen3-asr-flash")


def test_a_text_that_the_model_did_not_finish_carries_a_warning() -> None:
    cut = replace(transcript("Hello."), provider_extra={"finish_reason": "length"})
    body = job_outcome(advance(calling(), Transcribed(cut), moment()).job, None, NOW_MS, OutcomeRules()).body
    assert isinstance(body, Result)
    assert [notice.code for notice in body.warnings] == ["text_cut"]
