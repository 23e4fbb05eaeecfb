"""Post: send one submission's POST once its intent is durable, and pass the answer to the submission.

The POST is sent only if the intent is fresh by two clocks, the journal was read back past it without a higher
claim, the shard is still ours, and the files are exactly the intent's.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import field
from functools import partial

from service.clock import Clock
from service.core.job.events import Posted, SubmissionEvent, SubmitLost, SubmitNotSent, SubmitRefused
from service.core.job.identity import SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import COMMIT_WAIT_SECONDS, INTENT_SECONDS
from service.core.provider.answers import (
    Accepted,
    Answered,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
)
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass
from service.kafka.journal.tail import Tail
from service.pipeline.collecting import transcripts
from service.pipeline.guards.file_limits import FileLimits
from service.pipeline.guards.submit_guards import SubmitGuards, SubmitPermit
from service.pipeline.hotwords.prepare import HotwordListStage
from service.pipeline.shard.publish import Receipt
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.spawn import Spawn
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.tracer import TracedStep, requests_of
from service.provider.answer_boundary import UNREAD
from service.provider.api import Provider

TOO_LATE = NotSent(
    ProviderError(OwnCode.INTENT_TOO_OLD, "the submit could not be sent while its intent was valid")
)


@dataclass(frozen=True, slots=True)
class SubmitDeps:
    """What a submit needs: the provider, the fence that permits the POST, and the limit in flight."""

    provider: Provider
    fence: Tail
    spawn: Spawn
    hotword_lists: HotwordListStage
    in_flight: int
    """Synchronous models get as many again: their submits take as long as the work."""
    breaker: StageBreaker
    files: FileLimits = field(default_factory=FileLimits)


@dataclass(frozen=True, slots=True)
class Post:
    """A POST in progress: its submission, the time of its intent, and the batch that holds the intent."""

    runner: ShardRunner
    key: SubmissionKey
    files: int
    permit: SubmitPermit
    sealed: "asyncio.Future[Receipt]"
    intended_wall_ms: int
    intended_boot_seconds: float


@dataclass(frozen=True, slots=True)
class PostSender:
    """Sends POSTs and updates guards and file limits from their answers."""

    deps: SubmitDeps
    clock: Clock
    guards: SubmitGuards

    async def post(self, post: Post) -> None:
        """Wait for the intent, send the POST if it is allowed, and pass the answer to the submission."""
        runner, key = post.runner, post.key
        answer: SubmitAnswer = TOO_LATE
        with runner.boundary.guard(key, no_retry, StageName.SUBMIT), post.permit.call as call:
            receipt = await _durable(post.sealed)
            is_proven = receipt is not None and await self._is_proven(runner, receipt)
            jobs = self._jobs_to_post(post, receipt) if receipt is not None and is_proven else None
            options = self.deps.hotword_lists.options_to_send(jobs[0].request) if jobs else None
            if receipt is not None and jobs and options is not None:
                # There is no await between this check and the first byte, so the check still holds then.
                permit = partial(call.depart, partial(self._may_go, post, receipt))
                # From here on a byte may have left: whatever is raised, a task may exist.
                answer = Lost(UNREAD)
                urls, began_seconds = [job.file_url for job in jobs], self.clock.boot_seconds()
                answer = await self.deps.provider.submit(post.permit.model, urls, options, permit)
                _trace(runner, jobs, began_seconds, answer)
        made = Posted(answer.task_id) if isinstance(answer, Accepted) else None
        with runner.boundary.guard(key, no_retry, StageName.SUBMIT, made):
            self.guards.judge(answer, post.permit)
            self.deps.files.learn(answer, post.permit.model, post.files)
        self._apply_answer(post, answer, is_circuit_open=self.guards.is_circuit_open(post.permit.model))

    def _apply_answer(self, post: Post, answer: SubmitAnswer, *, is_circuit_open: bool) -> None:
        """Apply the answer to the submission; retry later if handling it fails."""
        again = partial(self._apply_answer, post, answer, is_circuit_open=is_circuit_open)
        with post.runner.boundary.guard(post.key, again, StageName.SUBMIT):
            event = _event(answer, post.permit.model, is_circuit_open=is_circuit_open)
            post.runner.on_submission(post.key, event)

    def _may_go(self, post: Post, receipt: Receipt) -> bool:
        return self._jobs_to_post(post, receipt) is not None

    def _jobs_to_post(self, post: Post, receipt: Receipt) -> Sequence[Job] | None:
        """The jobs to post: all of the intent's jobs, or None if the POST must not be sent."""
        runner = post.runner
        is_stopped = not (runner.is_open and runner.takes_work and self.guards.may_post(post.permit))
        if is_stopped or not self._is_fresh(receipt) or self._is_stale(post):
            return None
        submission = runner.state.submissions.get(post.key)
        if submission is None or submission.state is not SubmissionState.INTENDED:
            return None
        found = (runner.state.jobs.get(ref) for ref in submission.jobs)
        jobs = [job for job in found if job is not None and _is_to_be_posted(job, post.key)]
        return jobs if len(jobs) == len(submission.jobs) == post.files else None

    async def _is_proven(self, runner: ShardRunner, receipt: Receipt) -> bool:
        if not runner.takes_work:
            return False  # A shard that is given back waits for its unsent POSTs.
        try:
            async with asyncio.timeout(INTENT_SECONDS):
                return await self.deps.fence.proves(runner.partition, receipt.journal_offset)
        except TimeoutError:
            return False

    def _is_stale(self, post: Post) -> bool:
        """Whether the intent is too old.

        A later owner's search window counts from it, not from the seal.
        """
        longest_seconds = COMMIT_WAIT_SECONDS + INTENT_SECONDS
        boot_age_seconds = self.clock.boot_seconds() - post.intended_boot_seconds
        wall_age_seconds = (self.clock.wall_ms() - post.intended_wall_ms) / 1000
        return max(boot_age_seconds, wall_age_seconds) > longest_seconds

    def _is_fresh(self, receipt: Receipt) -> bool:
        """Check the wall clock, and the boot clock, which also runs while the machine is suspended."""
        boot_age_seconds = self.clock.boot_seconds() - receipt.sealed_boot_seconds
        wall_age_seconds = (self.clock.wall_ms() - receipt.sealed_wall_ms) / 1000
        return boot_age_seconds <= INTENT_SECONDS and wall_age_seconds <= INTENT_SECONDS


def no_retry() -> None:
    """Do nothing on a retry: the code after the boundary runs anyway."""


def _trace(runner: ShardRunner, jobs: Sequence[Job], began_seconds: float, answer: SubmitAnswer) -> None:
    if runner.tracer is not None:
        task_id = answer.task_id if isinstance(answer, Accepted) else None
        error = None if isinstance(answer, Accepted | Answered) else answer.provider_error.code
        requests = requests_of(jobs)
        runner.tracer.step(TracedStep.SUBMIT, requests, began_seconds, task_id=task_id, error=error)


def _is_to_be_posted(job: Job, key: SubmissionKey) -> bool:
    return job.submission == key and job.state is JobState.SUBMITTED and not job.cancelled


async def _durable(sealed: "asyncio.Future[Receipt]") -> Receipt | None:
    """The receipt of the batch with the intent.

    None if the shard closes first or it takes too long.
    """
    await asyncio.wait({sealed}, timeout=COMMIT_WAIT_SECONDS)
    return sealed.result() if sealed.done() and not sealed.cancelled() else None


def _event(answer: SubmitAnswer, model: str, *, is_circuit_open: bool) -> SubmissionEvent:
    match answer:
        case Accepted(task_id):
            return Posted(task_id)
        case Answered():
            return transcripts.answered(answer, model)
        case Refused(provider_error):
            return SubmitRefused(provider_error, is_circuit_open)
        case Lost(provider_error):
            return SubmitLost(provider_error)
        case NotSent(provider_error):
            return SubmitNotSent(provider_error)
