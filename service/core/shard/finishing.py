"""Turn a job's ending into records.

Its outcome, its usage in the summary, and the end of its request.

The order of writing: the outcome, then the record that the job is done; with the last outcome the request's
short form; then the tombstones of the request's job records.
"""

from dataclasses import replace

from service.contract.outcome import Usage
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest
from service.core.job.ending import AccountedUsage, FailureEnding
from service.core.job.events import Published, Step
from service.core.job.identity import JobRef
from service.core.job.job import Job
from service.core.job.job_table import advance_job
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import Submission
from service.core.job.transition_context import Context, open_jobs
from service.core.journal.entries import (
    encode_done,
    encode_finished,
    encode_job,
    encode_request,
    encode_spend,
)
from service.core.journal.stamp import spend_key
from service.core.limits.price import Price, cost_of
from service.core.outcome.build import billed_seconds, job_outcome, usage_of
from service.core.provider.answers import TaskView
from service.core.shard.batches import Group, JournalRecord
from service.core.shard.draft import Draft


def spend_record(draft: Draft) -> JournalRecord:
    """The record of the day's current spending."""
    return JournalRecord(spend_key(draft.shard.epoch), encode_spend(draft.spend))


def finish(draft: Draft, job: Job, steps: tuple[Step, ...], context: Context) -> Group:
    """The group of a job whose ending is decided.

    If this raises, the draft is unchanged.
    """
    origin, index = job.ref
    accounted = job.accounted or _accounted(draft, job)
    finishing = replace(job, accounted=accounted)
    end = end_of(job, accounted)
    progress = draft.progress[origin].with_end(end).with_written(index)
    summary = progress.summary() if accounted.carries_summary else None
    outcome = job_outcome(job, summary, context.now_ms, draft.shard.outcomes)
    progress, records = _end_records(job, end, progress, context.now_ms)
    announcing = _announcing(draft, finishing)
    # Nothing raises from here on: if the outcome cannot be built, the draft is unchanged.
    draft.jobs[job.ref] = finishing
    draft.progress[origin] = progress
    return Group(
        records,
        announcing=announcing,
        outcomes=(outcome,),
        steps=steps,
        ended=(job.ref,),
        spend=_spent(draft, end, context.ending_ms),
    )


def _announcing(draft: Draft, job: Job) -> tuple[JournalRecord, ...]:
    """The records to write before the outcome without transactions: the ending, preceded by the request.

    The request is needed only if it ends in the batch that accepts it, by a cancel or its deadline.
    """
    ending = JournalRecord(str(job.ref), encode_job(job))
    if draft.shard.durable_cursor.is_past(job.ref.origin):
        return (ending,)
    return (JournalRecord(str(job.ref.origin), encode_request(job.request)), ending)


def _accounted(draft: Draft, job: Job) -> AccountedUsage:
    progress = draft.progress[job.ref.origin]
    is_last = len(progress.ends.keys() | {job.ref.file_index}) >= progress.job_count
    price = draft.shard.prices.get(job.request.model)
    return AccountedUsage(billed_seconds(job), is_last, cost_of(usage_of(job), price) if price else 0.0)


def end_of(job: Job, accounted: AccountedUsage) -> FileEnd:
    """How the job ended.

    No failure means a result, since a restored ending may lack its transcript.
    """
    succeeded = not isinstance(job.ending, FailureEnding)
    return FileEnd(job.ref.file_index, succeeded, accounted.billed_seconds, accounted.cost)


def _end_records(
    job: Job, end: FileEnd, progress: RequestProgress, now_ms: int
) -> tuple[RequestProgress, tuple[JournalRecord, ...]]:
    if not progress.is_written:
        done = JournalRecord(str(job.ref), encode_done(end))
        return progress.with_record(end.file_index), (done,)
    finished = finished_of(job.request, progress, now_ms)
    return replace(progress, finished=finished), closing_records(finished, progress)


def finished_of(request: AcceptedRequest, progress: RequestProgress, now_ms: int) -> FinishedRequest:
    """The short form of a request whose endings are all decided."""
    return FinishedRequest(
        request.origin, request.request_id, request.replay, request.digest, progress.all_ends(), now_ms
    )


def closing_records(finished: FinishedRequest, progress: RequestProgress) -> tuple[JournalRecord, ...]:
    """The request's short form, followed by the tombstones of its job records."""
    tombstones = (
        JournalRecord(str(JobRef(finished.origin, index)), None) for index in sorted(progress.recorded)
    )
    return (finished_record(finished), *tombstones)


def finished_record(finished: FinishedRequest) -> JournalRecord:
    """The record of a finished request."""
    return JournalRecord(str(finished.origin), encode_finished(finished))


def _spent(draft: Draft, end: FileEnd, ending_ms: int) -> JournalRecord | None:
    if not end.billed_seconds and not end.cost:
        return None
    draft.spend = draft.spend.count(ending_ms, end.billed_seconds, end.cost)
    return spend_record(draft)


def forget_job(draft: Draft, ref: JobRef, context: Context) -> None:
    """Remove a job whose outcome is durable.

    After the last one its request is finished.
    """
    job = draft.jobs.get(ref)
    if job is None:
        return
    advance_job(job, Published(), draft.submissions.get(job.submission), context)
    progress = draft.progress[ref.origin].without_open(ref.file_index)
    draft.jobs.pop(ref)
    draft.progress[ref.origin] = progress
    if progress.finished is not None and not progress.open:
        draft.requests.pop(ref.origin)
        draft.progress.pop(ref.origin)
        draft.remember(progress.finished)


def correct(
    draft: Draft, submission: Submission, task: TaskView, ending_ms: int
) -> tuple[JournalRecord, ...]:
    """Count the cost of jobs that had ended before their task's bill was known.

    Nothing is published again.

    Files without a bill share the unaccounted part of the task's bill evenly. Returns the corrected records
    of requests that are open or remembered, and adds the cost to the draft's spending.
    """
    still_open = open_jobs(submission, draft.jobs)
    ends = {ref: _end_of(draft, ref) for ref in submission.jobs if ref not in still_open}
    lacking = [ref for ref, end in ends.items() if end is None or end.billed_seconds is None]
    if not lacking or task.billed_seconds is None:
        return ()
    known = sum(end.billed_seconds or 0 for end in ends.values() if end is not None)
    share = max(0, task.billed_seconds - known) // (len(lacking) + len(still_open))
    cost = _cost(share, draft.shard.prices.get(submission.model, Price()))
    records: list[JournalRecord] = []
    for ref in lacking:
        records += _correct_end(draft, ref, FileEnd(ref.file_index, False, share, cost))
        draft.spend = draft.spend.count(ending_ms, share, cost)
    return tuple(records)


def _cost(seconds: int, price: Price) -> float:
    return cost_of(Usage(billed_seconds=seconds, estimated=True), price)


def _end_of(draft: Draft, ref: JobRef) -> FileEnd | None:
    """How a job ended; None if it is no longer known."""
    finished = draft.finished.get(ref.origin)
    if finished is not None:
        return next((end for end in finished.ends if end.file_index == ref.file_index), None)
    progress = draft.progress.get(ref.origin)
    return None if progress is None else progress.ends.get(ref.file_index)


def _correct_end(draft: Draft, ref: JobRef, better: FileEnd) -> tuple[JournalRecord, ...]:
    """Correct the end of a job in a request that is open or remembered.

    Returns the changed records.
    """
    finished = draft.finished.get(ref.origin)
    if finished is not None:
        corrected = draft.finished[ref.origin] = _corrected(finished, better)
        return (finished_record(corrected),)
    progress = draft.progress.get(ref.origin)
    end = None if progress is None else progress.ends.get(ref.file_index)
    if progress is None or end is None:
        return ()
    end = better._replace(succeeded=end.succeeded)
    progress = progress.with_end(end)
    if progress.finished is not None:
        closing = _corrected(progress.finished, better)
        draft.progress[ref.origin] = replace(progress, finished=closing)
        return (finished_record(closing),)
    draft.progress[ref.origin] = progress
    # No record may say that the job is done before its outcome is queued.
    is_written = ref.file_index in progress.written
    return (JournalRecord(str(ref), encode_done(end)),) if is_written else ()


def _corrected(finished: FinishedRequest, better: FileEnd) -> FinishedRequest:
    ends = (
        better._replace(succeeded=end.succeeded) if end.file_index == better.file_index else end
        for end in finished.ends
    )
    return replace(finished, ends=tuple(ends))
