"""A journal may hold records in any company: whatever can be read is restored, and leaves nobody behind."""

from hypothesis import given
from hypothesis import strategies as st

from service.contract.stage import Stage
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest, RequestFile
from service.core.job.ending import AccountedUsage, FailureEnding
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.core.journal.entries import JobEntry
from service.core.journal.replay import Restore
from service.core.shard.shard import Shard
from service.errors import FailureCode
from tests.unit.core.samples import NOW_MS, context, request

ORIGINS = st.builds(Origin, st.just(0), st.integers(0, 2))
REFS = st.builds(JobRef, ORIGINS, st.integers(0, 2))
MODELS = st.sampled_from(["fun-asr", "qwen3-asr-flash", "gone-asr"])
TIMES = st.sampled_from([0, NOW_MS - 90_000_000, NOW_MS - 1, NOW_MS + 10**9])
REQUESTS = st.builds(
    lambda origin, indexes, model, deadline_ms: request(
        origin=origin,
        files=tuple(RequestFile(index, f"https://h.example/{index}") for index in indexes),
        model=model,
        deadline_ms=deadline_ms,
    ),
    ORIGINS,
    st.sets(st.integers(0, 2), min_size=1),
    MODELS,
    TIMES,
)
FINISHED = st.builds(
    FinishedRequest,
    ORIGINS,
    st.just("r"),
    st.integers(0, 1),
    st.just("d"),
    st.just((FileEnd(0, succeeded=True, billed_seconds=3),)),
    TIMES,
)
INTENT = Intent(NOW_MS - 5, None, 1, "d")


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    """Any submission that a journal can hold."""
    state = draw(st.sampled_from(SubmissionState))
    is_running = state is SubmissionState.RUNNING
    return Submission(
        SubmissionKey(1, draw(st.integers(0, 4))),
        draw(MODELS),
        tuple(draw(st.lists(REFS, max_size=3))),
        draw(TIMES),
        state=state,
        due_ms=draw(TIMES),
        counters=Counters(1, 0, 1, draw(st.integers(0, 4))),
        intent=None if state is SubmissionState.WAITING else INTENT,
        task_id="t" if is_running else None,
        submitted_ms=NOW_MS - 5 if is_running else None,
        is_followed=is_running and draw(st.booleans()),
    )


FAILED = FailureEnding(Stage.POLL, FailureCode.TASK_LOST, "lost")
USAGE = st.builds(AccountedUsage, st.none() | st.just(3), st.booleans())
JOBS = REFS.flatmap(
    lambda ref: st.one_of(
        st.just(JobEntry(ref, cancelled=True)),
        st.builds(lambda accounted: JobEntry(ref, is_result=True, accounted=accounted), st.none() | USAGE),
        st.builds(lambda accounted: JobEntry(ref, ending=FAILED, accounted=accounted), USAGE),
        st.just(JobEntry(ref, end=FileEnd(ref.file_index, succeeded=True))),
    )
)
RECORDS = st.lists(REQUESTS | FINISHED | submissions() | JOBS, max_size=14)


@given(RECORDS)
def test_whatever_can_be_read_is_restored_and_every_open_job_is_in_one_submission(
    records: list[AcceptedRequest | FinishedRequest | Submission | JobEntry],
) -> None:
    restore = Restore("journal", 0)
    for record in records:
        restore.entries[_key(record)] = record
    shard = Shard(0, 2)
    change = shard.load(restore, context())
    for ref, job in shard.jobs.items():
        assert ref.origin in shard.requests
        assert not job.is_open or ref in shard.submissions[job.submission].jobs
    assert {ref.origin for ref in shard.jobs} == set(shard.requests) == set(shard.progress)
    for key, submission in shard.submissions.items():
        waits = submission.state is not SubmissionState.RUNNING or submission.is_followed
        assert shard.open_jobs(key) or waits
    for group in change.groups:
        for ended in group.ended:
            shard.forget_job(ended, context())
    assert all(finished.finished_ms <= context().now_ms for finished in shard.finished.values())


def _key(record: AcceptedRequest | FinishedRequest | Submission | JobEntry) -> str:
    if isinstance(record, Submission):
        return str(record.key)
    return str(record.ref if isinstance(record, JobEntry) else record.origin)
