"""Take the picture that /status and the gauges show; changes nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator

from service import __version__
from service.clock import Clock
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.limits.hold_causes import SPEND_ADVICE, SPENT
from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.shard.shard import Shard
from service.frozen import dataclass
from service.kafka.group.partition_offsets import PartitionOffsets
from service.observability.status import (
    BudgetStatus,
    HoldStatus,
    ResultHoldStatus,
    ShardStatus,
    ShardWork,
    Status,
    SubmitStatus,
    Waiting,
)
from service.pipeline.assignment.assignment import Assignment
from service.pipeline.dispatch import Stages
from service.pipeline.guards.call_limiter import CallLimiter
from service.pipeline.guards.submit_guards import SubmitGuards
from service.pipeline.guards.wait_reasons import WaitReason, of_most_jobs
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker

SUSPENDED = "suspended"
"""The state of a shard that a rebalance has revoked and may return."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the picture is taken of."""

    member: str
    assignment: Assignment
    guards: SubmitGuards
    breaker: StageBreaker
    clock: Clock
    stages: Stages
    offsets: PartitionOffsets | None = None


def collect(of: Sources) -> Status:
    """The current status of the process; its cost does not depend on the number of open jobs."""
    assignment, guards, clock = of.assignment, of.guards, of.clock
    states = [runner.state for runner in assignment.open_shards()]
    jobs = sum((state.jobs.by_state for state in states), Counter[JobState]())
    submissions = sum((state.submissions.by_state for state in states), Counter[SubmissionState]())
    oldest = (next(iter(state.jobs.values()), None) for state in states)
    oldest_ms = min((job.request.accepted_ms for job in oldest if job is not None), default=None)
    return Status(
        version=__version__,
        member=of.member,
        taken_at=clock.boot_seconds(),
        shards=tuple(_shards(of)),
        partitions=guards.limiter.share.partitions,
        jobs={state.value: number for state, number in jobs.items()},
        submissions={state.value: number for state, number in submissions.items()},
        waiting=tuple(_waits(of.stages, states)),
        oldest_ages_seconds=_oldest_ages(states, clock.now_ms()),
        retention_seconds=_retention_seconds(states, clock.now_ms()),
        calls=of.stages.calls(),
        oldest_job_age_seconds=None if oldest_ms is None else max(0, clock.now_ms() - oldest_ms) / 1000,
        budgets=tuple(_budgets(guards.limiter)),
        unused_slots=tuple(each.value for each in guards.limiter.unused()),
        submits=tuple(_submits(guards, clock.boot_seconds())),
        holds=tuple(_holds(guards, assignment)),
        group_lost=assignment.group_lost,
        result_holds=tuple(_result_holds(guards)),
        account_hold=guards.hold.knowledge,
        spent_seconds=sum(state.spend.on(clock.confirmed_ms()) for state in states),
        spent_cost=sum(state.spend.cost_on(clock.confirmed_ms()) for state in states),
        clock_offset_seconds=(clock.wall_ms() - clock.now_ms()) / 1000,
        pending_bytes=sum(runner.pending_bytes for runner in assignment.open_shards()),
        stopped_stages=tuple(stage.value for stage in of.breaker.stopped()),
    )


def _waits(stages: Stages, states: Iterable[Shard]) -> Iterator[Waiting]:
    """Why jobs wait for a task; counted as they change, whatever their number and that of their models."""
    jobs: Counter[str] = Counter()
    settling: Counter[str] = Counter()
    for state in states:
        jobs.update(state.jobs.waiting)
        settling.update(state.submissions.uncertain_jobs)
    for (model, reason), count in sorted(stages.submit.waiting(jobs).items()):
        yield Waiting(model, reason.value, count)
    for model, count in sorted(of_most_jobs(settling).items()):
        yield Waiting(model, WaitReason.SETTLE.value, count)


def _oldest_ages(states: Iterable[Shard], now_ms: int) -> dict[str, float]:
    """The age of the oldest job in each state that has any."""
    ages: dict[str, float] = {}
    for state in states:
        for each in JobState:
            accepted_ms = state.jobs.accepted_ms(each)
            if accepted_ms is not None:
                age_seconds = max(0, now_ms - accepted_ms) / 1000
                ages[each.value] = max(age_seconds, ages.get(each.value, 0.0))
    return ages


def _retention_seconds(states: Iterable[Shard], now_ms: int) -> float | None:
    ends = (state.submissions.retention_end_ms() for state in states)
    first_ms = min((end_ms for end_ms in ends if end_ms is not None), default=None)
    return None if first_ms is None else (first_ms - now_ms) / 1000


def _shards(of: Sources) -> Iterator[ShardStatus]:
    """The partitions that are assigned here, and those that wait for the end of a rebalance."""
    found = of.assignment.suspended | of.assignment.partitions
    for partition, assigned in sorted(found.items()):
        runner, is_suspended = assigned.runner, partition not in of.assignment.partitions
        yield ShardStatus(
            partition=partition,
            state=SUSPENDED if is_suspended else assigned.state,
            open_jobs=len(runner.state.jobs) if runner else 0,
            epoch=runner.epoch if runner else None,
            cursor=runner.durable_cursor.next_offset if runner else None,
            detail=assigned.detail or None,
            work=_work(of, runner) if runner and runner.is_open else None,
        )


def _work(of: Sources, runner: ShardRunner) -> ShardWork | None:
    """What the shard holds; None if another process may have claimed it, whose figures then count."""
    if not of.guards.limiter.share.is_proven(of.clock.boot_seconds()):
        return None
    state, now_ms = runner.state, of.clock.confirmed_ms()
    lag = of.offsets.lag(runner.partition, state.cursor.next_offset) if of.offsets else None
    return ShardWork(
        jobs={each.value: state.jobs.by_state[each] for each in JobState if each is not JobState.DONE},
        uncertain_submissions=state.submissions.by_state[SubmissionState.UNCERTAIN],
        billed_seconds_today=state.spend.on(now_ms),
        billed_cost_today=state.spend.cost_on(now_ms),
        unread_requests=lag.records if lag else None,
        unread_seconds=lag.seconds if lag else None,
        journal_offsets=of.offsets.journal_offsets(runner.partition) if of.offsets else None,
    )


def _budgets(limiter: CallLimiter) -> Iterator[BudgetStatus]:
    for each in limiter.rates():
        yield BudgetStatus(each.kind, each.rate_per_second, each.share_per_second, each.model or None)


def _submits(guards: SubmitGuards, now: float) -> Iterator[SubmitStatus]:
    for model, health in guards.health.items():
        provider_error = None if health.since_ms is None else health.circuit_breaker.last
        yield SubmitStatus(model, health.retries.left(now), health.since_ms, provider_error)


def _result_holds(guards: SubmitGuards) -> Iterator[ResultHoldStatus]:
    """Those that stop submits first, then those with the most jobs: /status shows only some of many."""
    for held in sorted(guards.results.held(), key=lambda each: (each.since_ms is None, -each.jobs)):
        yield ResultHoldStatus(held.model, held.host, "SCRIBE_FETCH__HOSTS", held.jobs, held.since_ms)


def _holds(guards: SubmitGuards, assignment: Assignment) -> Iterator[HoldStatus]:
    """The account's hold, then those of models, then the spend limit, which ends by itself."""
    for hold in (guards.hold, *(health.hold for health in guards.health.values())):
        if hold.held is not None and hold.since_ms is not None:
            provider_error, model = hold.held.provider_error, hold.held.model
            waiting = _waiting(assignment, model)
            yield HoldStatus(
                provider_error.code, hold.since_ms, provider_error.message, model, hold.held.advice, waiting
            )
    spend_guard = guards.spend_guard
    if spend_guard.limit is not None and spend_guard.since_ms is not None:
        reason, advice = SPENT[spend_guard.limit], SPEND_ADVICE[spend_guard.limit]
        yield HoldStatus(SPEND_LIMIT, spend_guard.since_ms, reason, None, advice, _waiting(assignment, None))


def _waiting(assignment: Assignment, model: str | None) -> int:
    return sum(runner.state.jobs_without_task(model) for runner in assignment.open_shards())
