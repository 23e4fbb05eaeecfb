"""The table of jobs: every pair is decided, and what each state does with each event."""

from itertools import product

import pytest

from service.contract.stage import Stage
from service.core.job import job_table
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import (
    JOB_EVENTS,
    CancelAsked,
    DeadlinePassed,
    Fetched,
    FetchFailed,
    GivenBack,
    HandlingFailed,
    JobEvent,
    JobRestored,
    NoResult,
    PostIntended,
    Published,
    ReadyToCollect,
    SubmitFailed,
    TaskMade,
    Transcribed,
)
from service.core.job.job import FetchProgress, Job, JobState
from service.core.job.job_table import TRANSITIONS, advance_job
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import JobTransition
from service.core.provider.answers import Bill, ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.errors import FailureCode, IllegalTransition
from tests.unit.core.samples import NO_ANSWER, NOW_MS, context, job, request, submission, task, transcript

FAILED = FailureEnding(Stage.POLL, FailureCode.PROVIDER_ERROR, "failed")
POLICY = ErrorPolicy(Action.FAIL, FailureCode.SUBMIT_REJECTED)
EXAMPLES: dict[type[JobEvent], JobEvent] = {
    PostIntended: PostIntended(),
    GivenBack: GivenBack("why"),
    TaskMade: TaskMade("t1", 1, NOW_MS),
    ReadyToCollect: ReadyToCollect(task(), "https://r.example/1"),
    NoResult: NoResult(task(), NO_ANSWER),
    Transcribed: Transcribed(transcript(), Bill(), NOW_MS),
    SubmitFailed: SubmitFailed(NO_ANSWER, POLICY),
    Fetched: Fetched(transcript()),
    FetchFailed: FetchFailed(NO_ANSWER),
    CancelAsked: CancelAsked(),
    DeadlinePassed: DeadlinePassed(),
    HandlingFailed: HandlingFailed("a fault of Scribe itself (KeyError)"),
    JobRestored: JobRestored(),
    Published: Published(),
}
IMPOSSIBLE: dict[JobState, set[type[JobEvent]]] = {
    # The submission that it waits for is not out.
    JobState.WAITING: {Transcribed, Published},
    JobState.SUBMITTED: {Published},
    # Its task is finished. COLLECTING is not journalled.
    JobState.COLLECTING: {PostIntended, GivenBack, Transcribed, SubmitFailed, Published, JobRestored},
    # What ended is in no POST.
    JobState.FINISHING: {PostIntended},
    JobState.DONE: set(),
}
PAIRS = list(product(JobState, JOB_EVENTS))
LIVES = [
    (JobState.WAITING, SubmissionState.WAITING),
    (JobState.SUBMITTED, SubmissionState.INTENDED),
    (JobState.SUBMITTED, SubmissionState.UNCERTAIN),
    (JobState.SUBMITTED, SubmissionState.RUNNING),
    (JobState.COLLECTING, SubmissionState.RUNNING),
    (JobState.FINISHING, SubmissionState.RUNNING),
    (JobState.DONE, SubmissionState.RUNNING),
]
"""A job and the submission that it is in, as they can stand beside each other."""


def sample(state: JobState) -> Job:
    """A job in the state, ended where the state says so."""
    return job(state) if job(state).is_open else job(state, ending=FAILED)


def home(state: JobState) -> Submission:
    """The submission of a job in that state."""
    return submission(next(of for each, of in LIVES if each is state))


def name(pair: object) -> str:
    """How a pair is called in the list of tests."""
    return pair.__name__ if isinstance(pair, type) else str(pair)


def test_every_pair_of_state_and_event_is_in_the_table_and_nothing_else() -> None:
    assert set(TRANSITIONS) == set(PAIRS)
    assert set(EXAMPLES) == set(JOB_EVENTS)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=name)
def test_a_pair_is_answered_unless_it_is_listed_as_impossible(state: JobState, event: type[JobEvent]) -> None:
    before = sample(state)
    if event in IMPOSSIBLE[state]:
        with pytest.raises(IllegalTransition, match=f"r/0/0 in state {state} met {event.__name__}"):
            advance_job(before, EXAMPLES[event], home(state), context())
    else:
        assert advance_job(before, EXAMPLES[event], home(state), context()).job.ref == before.ref


@pytest.mark.parametrize(("state", "where"), LIVES, ids=str)
@pytest.mark.parametrize("event", JOB_EVENTS, ids=name)
def test_what_is_not_durable_keeps_the_job_where_a_restore_finds_it(
    state: JobState, where: SubmissionState, event: type[JobEvent]
) -> None:
    """A decided ending and a noted cancel need a record; all else its submission's record tells."""
    if event in IMPOSSIBLE[state]:
        return
    before = sample(state)
    after = advance_job(before, EXAMPLES[event], submission(where), context())
    is_decided = before.is_open and not after.job.is_open
    is_noted = after.job.cancelled and not before.cancelled
    is_announced = state is JobState.FINISHING and event is JobRestored
    assert after.durable == (is_decided or is_noted or is_announced)
    assert after.leaves == (is_decided or after.resubmit is not None)
    assert (after.job.submission, after.job.request) == (before.submission, before.request)


@pytest.mark.parametrize("event", JOB_EVENTS, ids=name)
def test_a_finished_job_ignores_everything(event: type[JobEvent]) -> None:
    done = job(JobState.DONE, ending=FAILED)
    for where in (None, submission(SubmissionState.RUNNING)):
        assert advance_job(done, EXAMPLES[event], where, context()) == JobTransition(done)


@pytest.mark.parametrize("event", [each for each in JOB_EVENTS if each is not PostIntended], ids=name)
@pytest.mark.parametrize("ending", [FAILED, ResultEnding(transcript())])
def test_an_ending_is_decided_once(event: type[JobEvent], ending: FailureEnding | ResultEnding) -> None:
    before = job(JobState.FINISHING, ending=ending, task_ids=("t1",))
    after = advance_job(before, EXAMPLES[event], None, context())
    assert after.job.ending == ending
    if event not in (Published, JobRestored):
        assert after == JobTransition(before)


def test_publication_ends_the_job() -> None:
    before = job(JobState.FINISHING, ending=FAILED)
    after = advance_job(before, Published(), None, context())
    assert after == JobTransition(job(JobState.DONE, ending=FAILED))


@pytest.mark.parametrize("state", [state for state in JobState if job(state).is_open])
def test_an_open_job_without_a_submission_is_a_bug(state: JobState) -> None:
    with pytest.raises(IllegalTransition, match=f"r/0/0 in state {state} is in no submission"):
        advance_job(job(state), CancelAsked(), None, context())


def test_impossible_names_the_job_its_state_and_the_event() -> None:
    with pytest.raises(IllegalTransition, match="r/0/0 in state done met Published"):
        job_table.impossible(job(JobState.DONE), Published(), None, context())


# The arrows of docs/states.md.

CANCELLED: dict[str, object] = {"cancelled": True}
OVERDUE: dict[str, object] = {"request": request(deadline_ms=NOW_MS)}
AGAIN, GONE = ProviderError("FILE_DOWNLOAD_FAILED", "no answer"), ProviderError("FILE_404_NOT_FOUND", "404")
ARROWS: list[tuple[str, JobEvent, str, SubmissionState, dict[str, object]]] = [
    ("waiting", PostIntended(), "submitted", SubmissionState.INTENDED, {}),
    ("waiting", EXAMPLES[TaskMade], "submitted", SubmissionState.RUNNING, {}),
    ("waiting", GivenBack(), "finishing", SubmissionState.WAITING, CANCELLED),
    ("waiting", EXAMPLES[SubmitFailed], "finishing", SubmissionState.WAITING, {}),
    ("waiting", CancelAsked(), "finishing", SubmissionState.WAITING, {}),
    ("waiting", DeadlinePassed(), "finishing", SubmissionState.WAITING, OVERDUE),
    ("waiting", EXAMPLES[HandlingFailed], "finishing", SubmissionState.WAITING, {}),
    ("submitted", GivenBack(), "waiting", SubmissionState.WAITING, {}),
    ("submitted", GivenBack(), "finishing", SubmissionState.WAITING, CANCELLED),
    ("submitted", EXAMPLES[TaskMade], "finishing", SubmissionState.RUNNING, CANCELLED),
    ("submitted", EXAMPLES[ReadyToCollect], "collecting", SubmissionState.RUNNING, {}),
    ("submitted", NoResult(task(), AGAIN), "waiting", SubmissionState.RUNNING, {}),
    ("submitted", NoResult(task(), GONE), "finishing", SubmissionState.RUNNING, {}),
    ("submitted", EXAMPLES[Transcribed], "finishing", SubmissionState.INTENDED, {}),
    ("submitted", EXAMPLES[SubmitFailed], "finishing", SubmissionState.WAITING, {}),
    ("submitted", CancelAsked(), "finishing", SubmissionState.UNCERTAIN, {}),
    ("submitted", DeadlinePassed(), "finishing", SubmissionState.UNCERTAIN, OVERDUE),
    ("submitted", EXAMPLES[HandlingFailed], "finishing", SubmissionState.RUNNING, {}),
    ("collecting", EXAMPLES[Fetched], "finishing", SubmissionState.RUNNING, {}),
    (
        "collecting",
        FetchFailed(ProviderError("http_error", "", 403)),
        "submitted",
        SubmissionState.RUNNING,
        {},
    ),
    ("collecting", FetchFailed(ProviderError("fetch_refused", "")), "finishing", SubmissionState.RUNNING, {}),
    ("collecting", CancelAsked(), "finishing", SubmissionState.RUNNING, {}),
    (
        "collecting",
        DeadlinePassed(),
        "finishing",
        SubmissionState.RUNNING,
        OVERDUE | {"fetch": FetchProgress(1)},
    ),
    ("collecting", EXAMPLES[HandlingFailed], "finishing", SubmissionState.RUNNING, {}),
    ("finishing", Published(), "done", SubmissionState.RUNNING, {}),
]


@pytest.mark.parametrize(("state", "event", "end", "where", "fields"), ARROWS)
def test_every_arrow_of_the_page_is_taken(
    state: str, event: JobEvent, end: str, where: SubmissionState, fields: dict[str, object]
) -> None:
    before = job(JobState(state), **fields)
    home = submission(where, model=before.request.model)
    assert advance_job(before, event, home, context()).job.state == end


def test_the_page_has_these_arrows_and_no_others() -> None:
    declared = {(s, e.__name__, end) for (s, e), way in TRANSITIONS.items() for end in way.to}
    assert declared == {(state, type(event).__name__, end) for state, event, end, _, _ in ARROWS}
