"""One replica as its health port shows it, and what is wrong with it.

It reads only the fields that it shows, so that it can show replicas of later versions.
"""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import from_json

from service.cli import pages
from service.cli.pages import NoAnswer, Page
from service.frozen import dataclass

CLOCK_SECONDS = 1.0
OK = 200
_LOCAL_SECONDS = 1.0


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class ShardView(_View):
    """One shard."""

    partition: int
    state: str
    open_jobs: int = 0
    detail: str | None = None


class HoldView(_View):
    """A hold of submits."""

    code: str
    since: str = "unknown"
    reason: str = ""
    model: str | None = None
    jobs_waiting: int = 0
    advice: str = ""


class ResultHoldView(_View):
    """Results that wait because their host is not allowed."""

    model: str
    host: str
    setting: str = "SCRIBE_FETCH__HOSTS"
    jobs: int = 0


class OutageView(_View):
    """Why a model's submits fail."""

    cause: str = "unknown"
    reason: str = ""


class SubmitsView(_View):
    """A model's submits."""

    model: str
    outage_since: str | None = None
    outage: OutageView | None = None


class WaitingView(_View):
    """Jobs of a model that wait for one reason."""

    model: str
    reason: str
    jobs: int = 0


class StatusView(_View):
    """The page /status."""

    version: str = "?"
    member: str = "?"
    group_lost: str | None = None
    shards: tuple[ShardView, ...] = ()
    jobs: Mapping[str, int] = {}
    submissions: Mapping[str, int] = {}
    oldest_job_age_seconds: float | None = None
    waiting: tuple[WaitingView, ...] = ()
    unused_slots: tuple[str, ...] = ()
    submits: tuple[SubmitsView, ...] = ()
    hold: HoldView | None = None
    other_holds: tuple[HoldView, ...] = ()
    result_holds: tuple[ResultHoldView, ...] = ()
    account_hold: str = "unknown"
    spent_seconds: int = 0
    clock_offset_seconds: float = 0.0
    stopped_stages: tuple[str, ...] = ()

    @property
    def holds(self) -> tuple[HoldView, ...]:
        """All holds of submits, the account's first."""
        return self.other_holds if self.hold is None else (self.hold, *self.other_holds)


@dataclass(frozen=True, slots=True)
class Replica:
    """What one replica answered; `status` is None if it did not, and `error` says why."""

    url: str
    status: StatusView | None = None
    document: JsonValue = None
    """The page /status as it was answered."""
    problems: tuple[str, ...] = ()
    error: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether it answered, and nothing is wrong."""
        return self.status is not None and not self.problems


async def replica_at(base: str) -> Replica:
    """The replica at this URL; never raises for what it answers."""
    try:
        answer = await pages.get(f"{base}/status")
        if answer.status != OK:
            return Replica(base, error=f"/status answers {answer.status}")
        status = StatusView.model_validate_json(answer.body)
        live, ready = await pages.get(f"{base}/livez"), await pages.get(f"{base}/readyz")
    except NoAnswer as error:
        return Replica(base, error=str(error))
    except ValidationError:
        return Replica(base, error="what answers is not Scribe")
    problems = (*_probes(live, ready), *_problems(status))
    return Replica(base, status, from_json(answer.body), tuple(problems))


async def member_at(port: int) -> str | None:
    """The name of the replica on this machine, if one listens at this port."""
    try:
        answer = await pages.get(f"http://127.0.0.1:{port}/status", _LOCAL_SECONDS)
        return StatusView.model_validate_json(answer.body).member
    except (NoAnswer, ValidationError):
        return None


def _probes(live: Page, ready: Page) -> Iterator[str]:
    if live.status != OK:
        yield f"stuck: {live.text}"
    if ready.status != OK:
        yield f"not ready: {ready.text}"


def _problems(status: StatusView) -> Iterator[str]:
    """What is not as it should be, in the order in which docs/operations.md reads the page."""
    yield from _membership(status)
    for shard in status.shards:
        if shard.state == "refused":
            yield f"partition {shard.partition} is refused: {shard.detail or 'no reason is given'}"
    if status.stopped_stages:
        yield f"stopped for faults of Scribe itself: {', '.join(status.stopped_stages)}"
    for hold in status.holds:
        yield _hold(hold)
    for held in status.result_holds:
        yield f"{held.jobs} results of {held.model} wait: {held.host} is not below {held.setting}"
    for each in status.submits:
        if each.outage_since is not None:
            outage = each.outage or OutageView()
            yield f"outage of {each.model} since {each.outage_since} ({outage.cause}): {outage.reason}"
    if abs(status.clock_offset_seconds) >= CLOCK_SECONDS:
        yield f"the clock is {status.clock_offset_seconds:+.1f} s from trusted time"


def _membership(status: StatusView) -> Iterator[str]:
    if status.group_lost is not None:
        yield f"the group is lost: {status.group_lost}"
    elif "membership" in status.unused_slots and any(each.state == "ready" for each in status.shards):
        # The client waits in silence for a broker that is away: what it does not commit shows it.
        yield "Kafka has accepted no commit for 10 s: this replica calls the provider no more"


def _hold(hold: HoldView) -> str:
    what = f"model {hold.model}" if hold.model else "account"
    begun = f"hold of the {what} since {hold.since}, {hold.jobs_waiting} jobs wait"
    return f"{begun}: {hold.code}: {hold.reason} {hold.advice}".rstrip()
