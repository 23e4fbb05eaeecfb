"""The table of submissions: every pair is decided, and what each state does with each event."""

from itertools import product

import pytest

from service.core.job import submission_table
from service.core.job.events import (
    SUBMISSION_EVENTS,
    Adopted,
    HotwordListRefused,
    Intended,
    JobsLeft,
    NotFound,
    OutOfReach,
    Polled,
    PollFailed,
    Posted,
    SubmissionEvent,
    SubmissionRestored,
    SubmitAnswered,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.submission import SubmissionState
from service.core.job.submission_table import TRANSITIONS, advance_submission
from service.core.job.transition_context import SubmissionTransition
from service.core.job.urgency import RETENTION_MS
from service.core.provider.answers import ProviderError, TaskStatus
from service.errors import IllegalTransition
from tests.unit.core.samples import (
    NO_ANSWER,
    NOW_MS,
    REF,
    context,
    job,
    request,
    submission,
    task,
    transcript,
)

EXAMPLES: dict[type[SubmissionEvent], SubmissionEvent] = {
    Intended: Intended(NOW_MS),
    Posted: Posted("t1"),
    SubmitAnswered: SubmitAnswered(transcript()),
    SubmitRefused: SubmitRefused(NO_ANSWER),
    SubmitLost: SubmitLost(NO_ANSWER),
    SubmitNotSent: SubmitNotSent(NO_ANSWER),
    HotwordListRefused: HotwordListRefused(NO_ANSWER),
    Adopted: Adopted("t1"),
    NotFound: NotFound(),
    OutOfReach: OutOfReach(),
    Polled: Polled(task(TaskStatus.RUNNING), NOW_MS),
    PollFailed: PollFailed(NO_ANSWER),
    JobsLeft: JobsLeft(),
    SubmissionRestored: SubmissionRestored(),
}
ANSWERS_TO_A_POST = {Posted, SubmitAnswered, SubmitRefused, SubmitLost, SubmitNotSent}
ANSWERS_TO_A_PASS = {Adopted, NotFound, OutOfReach}
ANSWERS_TO_A_POLL = {Polled, PollFailed}
ALWAYS = {HotwordListRefused, JobsLeft, SubmissionRestored}
POSSIBLE = {
    SubmissionState.WAITING: ALWAYS | {Intended},
    SubmissionState.INTENDED: ALWAYS | ANSWERS_TO_A_POST,
    SubmissionState.UNCERTAIN: ALWAYS | ANSWERS_TO_A_PASS,
    # A task may be found by two passes while its shard is suspended.
    SubmissionState.RUNNING: ALWAYS | ANSWERS_TO_A_POLL | {Adopted},
}
PAIRS = list(product(SubmissionState, SUBMISSION_EVENTS))
JOB_STATES = {SubmissionState.WAITING: JobState.WAITING}


def name(pair: object) -> str:
    """How a pair is called in the list of tests."""
    return pair.__name__ if isinstance(pair, type) else str(pair)


def meet(state: SubmissionState, event: type[SubmissionEvent]) -> SubmissionTransition:
    """What a submission with its one open job answers."""
    mate = job(JOB_STATES.get(state, JobState.SUBMITTED))
    return advance_submission(submission(state), EXAMPLES[event], {REF: mate}, context())


def test_every_pair_of_state_and_event_is_in_the_table_and_nothing_else() -> None:
    assert set(TRANSITIONS) == set(PAIRS)
    assert set(EXAMPLES) == set(SUBMISSION_EVENTS)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_a_pair_is_answered_unless_it_is_listed_as_impossible(
    state: SubmissionState, event: type[SubmissionEvent]
) -> None:
    if event in POSSIBLE[state]:
        assert meet(state, event).submission.key == submission().key
    else:
        with pytest.raises(IllegalTransition, match=f"s/5.1 in state {state} met {event.__name__}"):
            meet(state, event)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_only_an_intent_leads_into_intended(state: SubmissionState, event: type[SubmissionEvent]) -> None:
    if event in POSSIBLE[state] and state is not SubmissionState.INTENDED:
        after = meet(state, event).submission.state
        assert (after is SubmissionState.INTENDED) == (event is Intended)


@pytest.mark.parametrize("event", sorted(POSSIBLE[SubmissionState.RUNNING], key=name), ids=name)
def test_a_task_is_never_lost_from_its_submission(event: type[SubmissionEvent]) -> None:
    answer = meet(SubmissionState.RUNNING, event)
    assert (answer.submission.state, answer.submission.task_id) == (SubmissionState.RUNNING, "t1")
    assert not answer.successors


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_what_is_not_durable_keeps_the_submission_where_a_restore_finds_it(
    state: SubmissionState, event: type[SubmissionEvent]
) -> None:
    if event in POSSIBLE[state]:
        answer = meet(state, event)
        if not answer.durable:
            assert answer.submission.state is state
            assert not answer.successors


@pytest.mark.parametrize("state", [s for s in SubmissionState if s is not SubmissionState.WAITING])
def test_a_list_that_is_refused_too_late_changes_nothing(state: SubmissionState) -> None:
    assert meet(state, HotwordListRefused) == SubmissionTransition(submission(state))


@pytest.mark.parametrize(
    "gone",
    [
        job(JobState.SUBMITTED, submission=SubmissionKey(5, 2)),
        job(JobState.FINISHING),
        job(JobState.DONE),
        None,
    ],
)
def test_a_job_that_ended_or_is_in_another_submission_is_no_concern_of_it(gone: object) -> None:
    jobs = {} if gone is None else {REF: gone}
    answer = advance_submission(submission(SubmissionState.INTENDED), Posted("t1"), jobs, context())  # type: ignore[arg-type]
    assert answer.to_jobs == ()
    assert answer.submission.is_followed


def test_impossible_names_the_submission_its_state_and_the_event() -> None:
    with pytest.raises(IllegalTransition, match=r"s/5\.1 in state waiting met Posted"):
        submission_table.impossible(submission(), Posted("t"), {}, context())


# The arrows of docs/states.md.

SYNC = "qwen3-asr-flash"
THROTTLED, GONE = ProviderError("Throttling", "slow", 429), ProviderError("ModelNotFound", "no", 400)
FINISHED, UNSENT = Polled(task(), NOW_MS), SubmitNotSent(ProviderError("connect_failed", "no route"))
WAITS, OUT = {REF: job()}, {REF: job(JobState.SUBMITTED)}
OVERDUE = {REF: job(request=request(deadline_ms=NOW_MS))}
AT_THE_EDGE: dict[str, object] = {"submitted_ms": NOW_MS - RETENTION_MS, "is_followed": True}
ARROWS: list[tuple[str, SubmissionEvent, str, dict[JobRef, Job], dict[str, object]]] = [
    ("waiting", Intended(NOW_MS), "intended", WAITS, {}),
    ("waiting", Intended(NOW_MS), "over", OVERDUE, {}),
    ("waiting", HotwordListRefused(GONE), "over", WAITS, {}),
    ("waiting", JobsLeft(), "over", {}, {}),
    ("waiting", SubmissionRestored(), "over", {}, {}),
    ("intended", Posted("t1"), "running", OUT, {}),
    ("intended", SubmitAnswered(transcript()), "over", OUT, {"model": SYNC}),
    ("intended", SubmitRefused(THROTTLED), "waiting", OUT, {}),
    ("intended", SubmitRefused(GONE), "over", OUT, {}),
    ("intended", SubmitLost(NO_ANSWER), "uncertain", OUT, {}),
    ("intended", SubmitLost(NO_ANSWER), "waiting", OUT, {"model": SYNC}),
    ("intended", SubmitLost(NO_ANSWER), "over", {}, {"model": SYNC}),
    ("intended", UNSENT, "waiting", OUT, {}),
    ("intended", UNSENT, "over", {}, {}),
    ("intended", SubmissionRestored(), "uncertain", OUT, {}),
    ("intended", SubmissionRestored(), "waiting", OUT, {"model": SYNC}),
    ("intended", SubmissionRestored(), "over", {}, {"model": SYNC}),
    ("uncertain", Adopted("t1"), "running", OUT, {}),
    ("uncertain", NotFound(), "over", OUT, {}),
    ("uncertain", OutOfReach(), "over", OUT, {}),
    ("running", FINISHED, "over", {}, {"is_followed": True}),
    ("running", PollFailed(NO_ANSWER), "over", {}, AT_THE_EDGE),
    ("running", JobsLeft(), "over", {}, {"is_task_over": True}),
    ("running", SubmissionRestored(), "over", {}, {}),
]


@pytest.mark.parametrize(("state", "event", "end", "jobs", "fields"), ARROWS)
def test_every_arrow_of_the_page_is_taken(
    state: str, event: SubmissionEvent, end: str, jobs: dict[JobRef, Job], fields: dict[str, object]
) -> None:
    before = submission(SubmissionState(state), **fields)
    answer = advance_submission(before, event, jobs, context())
    assert ("over" if answer.is_over else answer.submission.state) == end


def test_the_page_has_these_arrows_and_no_others() -> None:
    declared = {(s, e.__name__, end or "over") for (s, e), way in TRANSITIONS.items() for end in way.to}
    assert declared == {(state, type(event).__name__, end) for state, event, end, _, _ in ARROWS}
