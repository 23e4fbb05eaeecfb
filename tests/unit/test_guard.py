"""What only watches never ends what it watches: no metric and no log line may raise."""

import logging
from collections.abc import Callable

import pytest
import structlog

from service import log
from service.core.account import Held
from service.core.admission import Admission, Admitted
from service.core.changes import Change
from service.core.ending import ResultEnding
from service.core.job import JobState
from service.core.outcomes import Outcome, OutcomeRules, job_outcome
from service.core.price import Price
from service.core.task import Trouble
from service.core.uncertainty import Uncertainty
from service.guard import never_raises, watches
from service.metrics import Metrics
from service.observe import Observing
from service.pipeline.stage_breaker import StageName
from tests.fakes.clock import FakeClock
from tests.unit.core.samples import NOW_MS, job, transcript

HELD = Held(Trouble("Arrearage", "pay"))
SECRET = "the word nobody may read"
TELLINGS: dict[str, Callable[[Observing], None]] = {
    "committed": lambda observing: observing.committed(1, 0.1),
    "retried": lambda observing: observing.retried(0, "why"),
    "fenced": lambda observing: observing.fenced(0, "why"),
    "published": lambda observing: observing.published(outcome()),
    "admitted": lambda observing: observing.admitted(Admission(Admitted.REFUSED, Change())),
    "internal_error": lambda observing: observing.internal_error("job", "r/0/0", ValueError()),
    "shard": lambda observing: observing.shard("taken", 0),
    "uncertain": lambda observing: observing.uncertain(Uncertainty.BEGUN),
    "stage_stopped": lambda observing: observing.stage_stopped(StageName.POLL, True),
    "work_restored": lambda observing: observing.work_restored(1),
    "journal_unread": lambda observing: observing.journal_unread(0, "why"),
    "requests_lost": lambda observing: observing.requests_lost(0, -1),
    "hold": lambda observing: observing.hold(HELD, is_on=True),
    "brake": lambda observing: observing.brake(None),
    "outage": lambda observing: observing.outage("fun-asr", Trouble("timeout", "no answer")),
    "twin": lambda observing: observing.twin("why"),
    "group_lost": lambda observing: observing.group_lost("why"),
    "group_regained": lambda observing: observing.group_regained(),
    "fewer_files": lambda observing: observing.fewer_files("fun-asr", 1),
    "result_host": lambda observing: observing.result_host("fun-asr", "r.example", "refused"),
    "cancel_dropped": lambda observing: observing.cancel_dropped(),
}


def outcome(billed: int = 1) -> Outcome:
    """A result."""
    ending = ResultEnding(transcript())
    ended = job(JobState.FINISHING, ending=ending, task_ids=("t",), task_billed_seconds=billed)
    return job_outcome(ended, None, NOW_MS, OutcomeRules())


class Broken:
    """Nothing of it can be used."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"{SECRET} {name}")


def test_every_telling_is_tried() -> None:
    public = {name for name in vars(Observing) if not name.startswith("_")}
    assert set(TELLINGS) == public


@pytest.mark.parametrize("name", TELLINGS)
def test_no_broken_metric_ends_the_process(name: str) -> None:
    metrics = Metrics(clock=FakeClock())
    for part in [part for part in vars(metrics) if part not in ("_registry", "_turns")]:
        setattr(metrics, part, Broken())
    TELLINGS[name](Observing(metrics))
    metrics.loop_tick("submit")
    metrics.provider_call("query", "ok", 1.0)


@pytest.mark.parametrize("name", TELLINGS)
def test_no_broken_log_ends_the_process_and_its_count_is_not_lost(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structlog, "get_logger", Broken().__getattr__)
    TELLINGS[name](Observing(Metrics(clock=FakeClock())))


@pytest.mark.parametrize("cost", [-5, -(10**40), 10**400])
def test_a_cost_that_no_counter_takes_ends_no_process(cost: int) -> None:
    Observing(Metrics(clock=FakeClock()), {"fun-asr": Price(per_second=1.0)}).published(outcome(cost))


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
        Observing(metrics).internal_error("record", "requests/0/7", error)
    assert b'scribe_internal_errors_total{border="record"} 1.0' in metrics.page()
    [line] = capsys.readouterr().err.splitlines()
    assert '"internal_error"' in line
    assert "requests/0/7" in line
    assert "in test_an_internal_error_is_counted" in line
