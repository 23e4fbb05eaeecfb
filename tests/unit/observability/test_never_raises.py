"""What only watches never ends what it watches: no metric and no log line may raise."""

import logging
from collections.abc import Callable

import pytest
import structlog

from service.core.job.ending import ResultEnding
from service.core.job.job import JobState, TaskEnd
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.hold_causes import HoldCause
from service.core.limits.price import Price
from service.core.outcome.build import Outcome, OutcomeRules, job_outcome
from service.core.polling.list_trust import PageSource
from service.core.provider.answers import ProviderError
from service.core.shard.admission import Admission, AdmissionKind
from service.core.shard.batches import Change
from service.observability import log
from service.observability.instrumentation import PipelineInstrumentation
from service.observability.metric_definitions import CallResult
from service.observability.metrics import Metrics
from service.observability.never_raises import never_raises, watches
from service.pipeline.shard.observer import BoundaryName, HintResult, PageResult, ShardChange
from service.pipeline.shard.stage_breaker import StageName
from tests.fakes.clock import FakeClock
from tests.unit.core.samples import NOW_MS, job, transcript

HELD = HoldCause(ProviderError("Arrearage", "pay"))
SECRET = "the word nobody may read"
CALLS: dict[str, Callable[[PipelineInstrumentation], None]] = {
    "committed": lambda instrumentation: instrumentation.committed(1, 0.1),
    "retried": lambda instrumentation: instrumentation.retried(0, "why"),
    "fenced": lambda instrumentation: instrumentation.fenced(0, "why"),
    "published": lambda instrumentation: instrumentation.published(outcome()),
    "admitted": lambda instrumentation: instrumentation.admitted(Admission(AdmissionKind.REFUSED, Change())),
    "internal_error": lambda instrumentation: instrumentation.internal_error(
        BoundaryName.JOB, "r/0/0", ValueError()
    ),
    "shard": lambda instrumentation: instrumentation.shard(ShardChange.TAKEN, 0),
    "rebalanced": lambda instrumentation: instrumentation.rebalanced(),
    "served": lambda instrumentation: instrumentation.served(ShardChange.TAKEN, 1.0),
    "uncertain": lambda instrumentation: instrumentation.uncertain(UncertainOutcome.BEGUN),
    "stage_stopped": lambda instrumentation: instrumentation.stage_stopped(StageName.POLL, True),
    "work_restored": lambda instrumentation: instrumentation.work_restored(1),
    "journal_unreadable": lambda instrumentation: instrumentation.journal_unreadable(0, "why"),
    "requests_lost": lambda instrumentation: instrumentation.requests_lost(0, -1),
    "hold": lambda instrumentation: instrumentation.hold(HELD, is_on=True),
    "spend_guard": lambda instrumentation: instrumentation.spend_guard(None),
    "outage": lambda instrumentation: instrumentation.outage(
        "fun-asr", ProviderError("timeout", "no answer")
    ),
    "duplicate_member": lambda instrumentation: instrumentation.duplicate_member("why"),
    "group_lost": lambda instrumentation: instrumentation.group_lost("why"),
    "group_regained": lambda instrumentation: instrumentation.group_regained(),
    "files_per_task_lowered": lambda instrumentation: instrumentation.files_per_task_lowered("fun-asr", 1),
    "result_host": lambda instrumentation: instrumentation.result_host("fun-asr", "r.example", "refused"),
    "cancel_dropped": lambda instrumentation: instrumentation.cancel_dropped(),
    "list_swept": lambda instrumentation: instrumentation.list_swept(1.0),
    "list_hint": lambda instrumentation: instrumentation.list_hint(HintResult.RIGHT),
    "list_distrusted": lambda instrumentation: instrumentation.list_distrusted(PageSource.OWN, 60.0),
    "list_page": lambda instrumentation: instrumentation.list_page(PageResult.SHARED),
    "list_shared": lambda instrumentation: instrumentation.list_shared(False, "why"),
}


def outcome(billed: int = 1) -> Outcome:
    """A result."""
    ending = ResultEnding(transcript())
    ended = job(JobState.FINISHING, ending=ending, task_ids=("t",), task_end=TaskEnd(billed_seconds=billed))
    return job_outcome(ended, None, NOW_MS, OutcomeRules())


class Broken:
    """Nothing of it can be used."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"{SECRET} {name}")


def test_every_method_of_the_observer_is_called() -> None:
    public = {name for name in vars(PipelineInstrumentation) if not name.startswith("_")}
    assert set(CALLS) == public


@pytest.mark.parametrize("name", CALLS)
def test_no_broken_metric_ends_the_process(name: str) -> None:
    metrics = Metrics(clock=FakeClock())
    for part in [part for part in vars(metrics) if part not in ("_registry", "_turns")]:
        setattr(metrics, part, Broken())
    CALLS[name](PipelineInstrumentation(metrics))
    metrics.loop_tick("submit")
    metrics.provider_call("query", CallResult.OK, 1.0)


@pytest.mark.parametrize("name", CALLS)
def test_no_broken_log_ends_the_process_and_its_count_is_not_lost(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structlog, "get_logger", Broken().__getattr__)
    CALLS[name](PipelineInstrumentation(Metrics(clock=FakeClock())))


@pytest.mark.parametrize("cost", [-5, -(10**40), 10**400])
def test_a_cost_that_no_counter_takes_ends_no_process(cost: int) -> None:
    PipelineInstrumentation(Metrics(clock=FakeClock()), {"fun-asr": Price(per_second=1.0)}).published(
        outcome(cost)
    )


def test_what_failed_is_named_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    @never_raises
    def count(_number: int) -> None:
        raise KeyError(SECRET)

    with caplog.at_level(logging.ERROR):
        count(1)
    [record] = caplog.records
    assert record.getMessage().endswith("count raised KeyError")
    assert SECRET not in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_on_purpose_is_not_kept_inside(error: type[BaseException]) -> None:
    @never_raises
    def stop() -> None:
        raise error

    with pytest.raises(error):
        stop()


def test_what_answers_something_is_left_alone() -> None:
    @watches
    class Watch:
        def tell(self) -> None:
            raise ValueError

        def page(self) -> bytes:
            raise ValueError

    Watch().tell()
    with pytest.raises(ValueError):  # noqa: PT011
        Watch().page()


def test_an_internal_error_is_counted_and_written_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = Metrics(clock=FakeClock())
    log.configure("info", "json")
    try:
        raise LookupError("where")
    except LookupError as error:
        PipelineInstrumentation(metrics).internal_error(BoundaryName.RECORD, "requests/0/7", error)
    assert b'scribe_internal_errors_total{boundary="record"} 1.0' in metrics.page()[1]
    [line] = capsys.readouterr().err.splitlines()
    assert '"internal_error"' in line
    assert "requests/0/7" in line
    assert "in test_an_internal_error_is_counted" in line
