"""Take the picture that /status and the gauges show; it reads, and changes nothing."""

from collections import Counter
from collections.abc import Iterator

from service import __version__
from service.clock import Clock
from service.core.account import SPEND_ADVICE, SPENT
from service.core.spend import SPEND_LIMIT
from service.pipeline.budgets import Budgets
from service.pipeline.gate import Gate
from service.pipeline.own import Shards
from service.pipeline.tenancy import Tenancy
from service.status import BudgetStatus, HoldStatus, ResultHoldStatus, ShardStatus, Status, SubmitStatus


def take(member: str, shards: Shards, gate: Gate, clock: Clock) -> Status:
    """The process as it is now; costs a walk over the open jobs."""
    jobs = [job for shard in shards.open_shards() for job in shard.state.jobs.values()]
    oldest_ms = min((job.spec.accepted_ms for job in jobs), default=None)
    return Status(
        version=__version__,
        member=member,
        shards=tuple(_shard(p, tenancy) for p, tenancy in sorted(shards.tenancies.items())),
        jobs=dict(Counter(job.state.value for job in jobs)),
        oldest_job_age_seconds=None if oldest_ms is None else max(0, clock.now_ms() - oldest_ms) / 1000,
        budgets=tuple(_budgets(gate.budgets)),
        submits=tuple(_submits(gate)),
        holds=tuple(_holds(gate, shards)),
        group_lost=shards.group_lost,
        result_holds=tuple(_result_holds(gate)),
        account_hold=gate.hold.knowledge,
        spent_seconds=sum(shard.state.spend.on(clock.now_ms()) for shard in shards.open_shards()),
        spent_cost=sum(shard.state.spend.cost_on(clock.now_ms()) for shard in shards.open_shards()),
        pending_moves=sum(shard.pending_moves for shard in shards.open_shards()),
    )


def _shard(partition: int, tenancy: Tenancy) -> ShardStatus:
    shard = tenancy.shard
    return ShardStatus(
        partition=partition,
        state=tenancy.standing,
        open_jobs=len(shard.state.jobs) if shard else 0,
        epoch=shard.epoch if shard else None,
        cursor=shard.durable_cursor.next_offset if shard else None,
        detail=tenancy.detail or None,
    )


def _budgets(budgets: Budgets) -> Iterator[BudgetStatus]:
    yield BudgetStatus("query", budgets.query.rate_per_second, budgets.query.share_per_second)
    yield BudgetStatus("list", budgets.listing.rate_per_second, budgets.listing.share_per_second)
    yield BudgetStatus("cancel", budgets.cancel.rate_per_second, budgets.cancel.share_per_second)
    for model, budget in budgets.submits.items():
        yield BudgetStatus("submit", budget.rate_per_second, budget.share_per_second, model)


def _submits(gate: Gate) -> Iterator[SubmitStatus]:
    for model, health in gate.health.items():
        trouble = None if health.since_ms is None else health.outage.last
        yield SubmitStatus(model, health.retries.tokens, health.since_ms, trouble)


def _result_holds(gate: Gate) -> Iterator[ResultHoldStatus]:
    for held in gate.results.held():
        yield ResultHoldStatus(held.model, held.host, "SCRIBE_FETCH__HOSTS", held.jobs, held.since_ms)


def _holds(gate: Gate, shards: Shards) -> Iterator[HoldStatus]:
    """The account's reason, then those of models, then ours, which ends by itself."""
    for hold in (gate.hold, *(health.hold for health in gate.health.values())):
        if hold.held is not None and hold.since_ms is not None:
            said, model = hold.held.trouble, hold.held.model
            waiting = _waiting(shards, model)
            yield HoldStatus(said.code, hold.since_ms, said.message, model, hold.held.advice, waiting)
    brake = gate.brake
    if brake.limit is not None and brake.since_ms is not None:
        reason, advice = SPENT[brake.limit], SPEND_ADVICE[brake.limit]
        yield HoldStatus(SPEND_LIMIT, brake.since_ms, reason, None, advice, _waiting(shards, None))


def _waiting(shards: Shards, model: str | None) -> int:
    return sum(shard.state.jobs_without_task(model) for shard in shards.open_shards())
