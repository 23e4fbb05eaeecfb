"""What operators see: the counts and lines that each happening leaves, and none of a user's words."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from service.contract.stage import Stage
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.identity import RequestKey
from service.core.job.job import JobState, TaskEnd
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.hold_causes import hold_cause
from service.core.limits.price import Price
from service.core.limits.spend_limit import SpendLimit
from service.core.outcome.build import Outcome, OutcomeRules, job_outcome, record_failure
from service.core.provider.answers import (
    Cause,
    FileView,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
)
from service.core.shard.admission import Admission, AdmissionKind
from service.core.shard.batches import Change
from service.core.time.trusted_time import TimeEvent
from service.errors import FailureCode, InvalidRecord
from service.observability.instrumentation import PipelineInstrumentation, time_event
from service.observability.metric_definitions import CallResult
from service.observability.metrics import Metrics
from service.observability.provider_instrumentation import InstrumentedHotwordLists, InstrumentedProvider
from service.pipeline.shard.observer import ShardChange
from service.pipeline.shard.stage_breaker import StageName
from service.provider.api import NO_SLOT, Permit, Provider, at_once
from tests.fakes.clock import FakeClock
from tests.fakes.provider import NO_CONNECTION, TIMEOUT, FakeProvider
from tests.fakes.vocabularies import FakeVocabularies
from tests.unit.core.samples import NOW_MS, job, record, transcript

SECRET = "the word nobody may read"
UNTRUSTED = ProviderError(
    "connect_failed", "the certificate of host h is not trusted", cause=Cause.CERTIFICATE, host="h"
)
Lines = list[structlog.typing.EventDict]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(clock=FakeClock())


@pytest.fixture
def lines() -> Iterator[Lines]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample's value; zero where there is no such series."""
    found = [
        sample.value
        for family in text_string_to_metric_families(metrics.page()[1].decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


def a_result() -> Outcome:
    ending = ResultEnding(transcript(SECRET))
    ended = job(JobState.FINISHING, ending=ending, task_ids=("t1",), submitted_ms=NOW_MS)
    return job_outcome(ended, None, NOW_MS + 4_000, OutcomeRules())


def a_failure() -> Outcome:
    ending = FailureEnding(Stage.POLL, FailureCode.AUDIO_NOT_FOUND, "no such file", "FILE_404_NOT_FOUND")
    return job_outcome(job(JobState.FINISHING, ending=ending), None, NOW_MS, OutcomeRules())


def test_a_batch_is_counted_with_its_records_and_its_time(metrics: Metrics) -> None:
    PipelineInstrumentation(metrics).committed(3, 0.25)
    assert value(metrics, "scribe_batch_records_sum") == 3
    assert value(metrics, "scribe_batch_commit_seconds_sum") == 0.25


def test_what_cannot_be_read_of_a_journal_is_counted_and_says_where(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).journal_unreadable(4, "the record at offset 7 cannot be read")
    assert value(metrics, "scribe_journal_unread_total") == 1
    [line] = lines
    assert (line["event"], line["partition"], line["detail"]) == (
        "journal_unreadable",
        4,
        "the record at offset 7 cannot be read",
    )


def test_a_batch_that_is_sent_again_is_counted_and_says_why(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).retried(4, "no answer in time")
    assert value(metrics, "scribe_batches_total", result="unknown") == 1
    [line] = lines
    assert (line["event"], line["partition"], line["reason"]) == ("batch_retried", 4, "no answer in time")


def test_a_result_is_counted_with_its_stages_and_leaves_one_line_without_its_words(
    metrics: Metrics, lines: Lines
) -> None:
    PipelineInstrumentation(metrics).published(a_result())
    assert value(metrics, "scribe_jobs_finished_total", model="fun-asr", fault="none") == 1
    assert value(metrics, "scribe_result_seconds_sum", model_family="fun-asr") == pytest.approx(4.5)
    [line] = lines
    assert (line["event"], line["job"], line["outcome"]) == ("job_finished", "r/0/0", "result")
    assert SECRET not in str(lines)
    assert "Signature" not in str(lines)


def test_a_failure_is_counted_by_its_code(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).published(a_failure())
    assert value(metrics, "scribe_jobs_finished_total", model="fun-asr", fault="requester") == 1
    assert value(metrics, "scribe_failures_total", code="audio_not_found", fault="requester") == 1
    [line] = lines
    assert (line["outcome"], line["code"], line["stage"]) == ("failure", "audio_not_found", "poll")


def test_a_job_looks_up_no_label_set_that_was_used_before(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look-up of the client library takes a microsecond, and the engine once made thirteen for a job."""
    instrumentation = PipelineInstrumentation(metrics)

    def count_a_job() -> None:
        instrumentation.admitted(Admission(AdmissionKind.ACCEPTED, Change()))
        metrics.provider_call("submit", CallResult.OK, 0.1, "fun-asr")
        for kind in ("query", "fetch"):
            metrics.provider_call(kind, CallResult.OK, 0.1)
        instrumentation.committed(3, 0.1)
        instrumentation.published(a_result())

    count_a_job()
    looked_up: list[object] = []
    monkeypatch.setattr(MetricWrapperBase, "labels", lambda metric, *_: looked_up.append(metric))
    count_a_job()
    assert looked_up == []
    monkeypatch.undo()
    assert value(metrics, "scribe_jobs_finished_total", fault="none") == 2


def test_an_answer_to_a_repeat_counts_as_no_jobs_failure(metrics: Metrics, lines: Lines) -> None:
    ended = InvalidRecord(FailureCode.ALREADY_FINISHED, "all of it had ended", "r", replay=0, model="fun-asr")
    PipelineInstrumentation(metrics).published(
        record_failure(record(7, b"{}"), ended, NOW_MS, OutcomeRules())
    )
    assert value(metrics, "scribe_failures_total") == 0
    assert value(metrics, "scribe_jobs_finished_total") == 0
    assert list(lines) == []


@pytest.mark.parametrize("change", [AdmissionKind.DUPLICATE, AdmissionKind.FINISHED])
def test_a_repeat_leaves_one_debug_line(metrics: Metrics, lines: Lines, change: AdmissionKind) -> None:
    PipelineInstrumentation(metrics).admitted(Admission(change, Change(), repeats=RequestKey("r", 3)))
    [line] = lines
    assert (line["event"], line["log_level"]) == ("request_repeated", "debug")
    assert (line["request_id"], line["replay"], line["change"]) == ("r", 3, change)


@pytest.mark.parametrize("change", list(AdmissionKind))
def test_a_record_is_counted_by_how_it_was_taken(metrics: Metrics, change: AdmissionKind) -> None:
    PipelineInstrumentation(metrics).admitted(Admission(change, Change()))
    assert value(metrics, "scribe_request_records_total", admitted=change.value) == 1


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (ShardChange.TAKEN, "info"),
        (ShardChange.REFUSED, "error"),
        (ShardChange.LOST, "warning"),
        (ShardChange.FENCED, "warning"),
        (ShardChange.CLOSED, "info"),
    ],
)
def test_what_becomes_of_a_shard_is_counted_and_said(
    metrics: Metrics, lines: Lines, change: ShardChange, level: str
) -> None:
    PipelineInstrumentation(metrics).shard(change, 2, "why")
    assert value(metrics, "scribe_shard_events_total", event=change) == 1
    [line] = lines
    assert (line["change"], line["partition"], line["detail"]) == (change, 2, "why")
    assert line["log_level"] == level


def test_requests_lost_to_retention_are_counted_and_said(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).requests_lost(2, 7)
    assert value(metrics, "scribe_requests_lost_total") == 7
    [line] = lines
    assert (line["event"], line["count"], line["log_level"]) == ("requests_lost", 7, "error")


def test_a_hold_is_said_when_it_begins_and_when_it_ends(metrics: Metrics, lines: Lines) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    held = hold_cause(ProviderError("Arrearage", "Your account is in arrears.", 400, host="h"), "fun-asr")
    instrumentation.hold(held, True, 7)
    instrumentation.hold(held, False, 7)
    started, ended = lines
    assert (started["event"], started["log_level"]) == ("hold_started", "error")
    assert (started["provider_code"], started["model"], started["host"]) == ("Arrearage", None, "h")
    assert (started["reason"], started["jobs_waiting"]) == ("Your account is in arrears.", 7)
    assert started["advice"].startswith("Settle the account's bills")
    assert (ended["event"], ended["provider_code"], ended["jobs_waiting"]) == ("hold_ended", "Arrearage", 7)


def test_what_stops_the_work_is_counted_when_it_begins(metrics: Metrics) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    held = hold_cause(ProviderError("Arrearage", "Your account is in arrears.", 400), "fun-asr")
    for is_on in (True, False):
        instrumentation.hold(held, is_on)
    for limit in (SpendLimit.COST, None):
        instrumentation.spend_guard(limit)
    for error in (UNTRUSTED, None):
        instrumentation.outage("fun-asr", error)
    instrumentation.group_lost("away")
    instrumentation.group_regained()
    instrumentation.rebalanced()
    instrumentation.fenced(0, "why")
    assert value(metrics, "scribe_holds_total", code="Arrearage") == 1
    assert value(metrics, "scribe_holds_total", code="spend_limit") == 1
    assert value(metrics, "scribe_holds_total", code="other") == 0
    assert value(metrics, "scribe_provider_outages_total", model="fun-asr") == 1
    assert value(metrics, "scribe_group_losses_total") == 1
    assert value(metrics, "scribe_rebalances_total") == 1
    assert value(metrics, "scribe_batches_total", result="fenced") == 1


def test_take_overs_are_timed_by_kind_and_the_loops_lag_is_shown(metrics: Metrics) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    instrumentation.served(ShardChange.TAKEN, 3.5)
    instrumentation.served(ShardChange.RESUMED, 0.5)
    metrics.process.loop_lagged(0.25)
    assert value(metrics, "scribe_takeover_seconds_sum", kind="restored") == 3.5
    assert value(metrics, "scribe_takeover_seconds_sum", kind="resumed") == 0.5
    assert value(metrics, "scribe_event_loop_lag_seconds_sum") == 0.25


def test_a_hold_that_concerns_one_model_names_it(metrics: Metrics, lines: Lines) -> None:
    provider_error = ProviderError("AllocationQuota.FreeTierOnly", "The free tier is used up.", 403)
    for is_on in (True, False):
        PipelineInstrumentation(metrics).hold(hold_cause(provider_error, "fun-asr"), is_on, 1)
    assert [line["model"] for line in lines] == ["fun-asr", "fun-asr"]


@pytest.mark.parametrize("limit", SpendLimit)
def test_a_day_that_is_spent_is_said_with_its_own_setting_and_so_is_its_end(
    metrics: Metrics, lines: Lines, limit: SpendLimit
) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    instrumentation.spend_guard(limit)
    instrumentation.spend_guard(None)
    assert [(line["event"], line["code"], line["log_level"]) for line in lines] == [
        ("hold_started", "spend_limit", "error"),
        ("hold_ended", "spend_limit", "info"),
    ]
    others = [each for each in SpendLimit if each is not limit]
    assert f"SCRIBE_SPEND__{limit.upper()}_PER_DAY" in lines[0]["advice"]
    assert limit in lines[0]["reason"]
    for other in others:
        assert other not in (lines[0]["reason"] + lines[0]["advice"]).lower()


def test_a_lost_group_is_a_warning_with_its_reason_and_its_return_is_said(
    metrics: Metrics, lines: Lines
) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    instrumentation.group_lost("user u may not read")
    instrumentation.group_regained()
    assert [(line["event"], line["log_level"], line.get("detail")) for line in lines] == [
        ("group_lost", "warning", "user u may not read"),
        ("group_regained", "info", None),
    ]


def test_a_host_that_is_not_allowed_is_said_with_the_setting(metrics: Metrics, lines: Lines) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    for change in ("refused", "stopped", "resumed"):
        instrumentation.result_host("fun-asr", "r.example", change)
    assert [(line["event"], line["change"], line["log_level"]) for line in lines] == [
        ("result_host", "refused", "warning"),
        ("result_host", "stopped", "error"),
        ("result_host", "resumed", "info"),
    ]
    assert {(line["model"], line["host"], line["setting"]) for line in lines} == {
        ("fun-asr", "r.example", "SCRIBE_FETCH__HOSTS")
    }


def test_an_outage_is_said_when_it_begins_and_when_it_ends(metrics: Metrics, lines: Lines) -> None:
    instrumentation = PipelineInstrumentation(metrics)
    instrumentation.outage("fun-asr", UNTRUSTED)
    instrumentation.outage("fun-asr", None)
    assert [(line["event"], line["model"], line["log_level"]) for line in lines] == [
        ("outage_started", "fun-asr", "error"),
        ("outage_ended", "fun-asr", "info"),
    ]


def test_an_outage_says_why(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).outage("fun-asr", UNTRUSTED)
    PipelineInstrumentation(metrics).outage("fun-asr", ProviderError("InternalError", "oops", 500, host="h"))
    shown = [(line["cause"], line["host"], line["http_status"], line["provider_code"]) for line in lines]
    assert shown == [("certificate", "h", None, None), ("provider_error", "h", 500, "InternalError")]
    assert [line["reason"] for line in lines] == [UNTRUSTED.message, "oops"]


def test_a_cancel_that_is_not_sent_is_counted(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).cancel_dropped()
    assert value(metrics, "scribe_cancels_dropped_total") == 1


# Calls to the provider.


class Counted:
    """A provider whose calls are counted, each of which takes two seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self.fake = FakeProvider()
        self.clock = FakeClock()
        self.provider: Provider = InstrumentedProvider(
            _Slow(self.fake, self.clock), metrics, self.clock, PipelineInstrumentation(metrics)
        )

    async def submit(self) -> SubmitAnswer:
        return await self.provider.submit("fun-asr", ["https://h/a"], {})


class _Slow:
    def __init__(self, fake: FakeProvider, clock: FakeClock) -> None:
        self._fake = fake
        self._clock = clock

    async def submit(self, *given: object) -> SubmitAnswer:
        self._clock.suspend(2)
        return await self._fake.submit(*given)  # type: ignore[arg-type]

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        self._clock.suspend(2)
        return await self._fake.query(task_id, permit)

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        self._clock.suspend(2)
        return await self._fake.list_tasks(page_no, permit, status)

    def clock_offset_ms(self) -> int | None:
        return self._fake.clock_offset_ms()

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        self._clock.suspend(2)
        return await self._fake.cancel(task_id, permit)

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        self._clock.suspend(2)
        return await self._fake.fetch(transcription_url, max_bytes)


@pytest.fixture
def counted(metrics: Metrics) -> Counted:
    return Counted(metrics)


def calls(metrics: Metrics, kind: str) -> dict[str, float]:
    """How often a kind of call had each result."""
    found = {
        each: value(metrics, "scribe_provider_calls_total", kind=kind, result=each) for each in CallResult
    }
    return {result: count for result, count in found.items() if count}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Lost(TIMEOUT), "lost"),
        (NotSent(NO_CONNECTION), "not_sent"),
        (Refused(ProviderError("Throttling", "x", 429)), "throttled"),
        (Refused(ProviderError("InvalidParameter", "x", 400)), "refused"),
        (Refused(ProviderError("InternalError", "x", 500)), "error"),
        (Refused(ProviderError("unexpected_answer", "x")), "error"),
    ],
)
async def test_a_submit_is_counted_by_what_became_of_it(
    counted: Counted, metrics: Metrics, answer: Refused | Lost | NotSent, result: str
) -> None:
    counted.fake.next_submits.append(answer)
    assert await counted.submit() == answer
    assert calls(metrics, "submit") == {result: 1}


async def test_a_call_that_goes_well_is_counted_and_timed(counted: Counted, metrics: Metrics) -> None:
    await counted.submit()
    counted.fake.statuses = (TaskStatus.PENDING,)
    [task] = counted.fake.submits
    await counted.provider.query(task.task_id)
    await counted.provider.list_tasks(1)
    await counted.provider.cancel("unknown")
    await counted.provider.fetch("https://nowhere")
    assert calls(metrics, "submit") == {"ok": 1}
    assert calls(metrics, "query") == {"ok": 1}
    assert calls(metrics, "list") == {"ok": 1}
    assert calls(metrics, "cancel") == {"refused": 1}
    assert calls(metrics, "fetch") == {"refused": 1}
    for kind in ("submit", "query", "list", "cancel", "fetch"):
        assert value(metrics, "scribe_provider_call_seconds_sum", kind=kind) == pytest.approx(2)


async def test_answers_are_handed_on_as_they_are(counted: Counted) -> None:
    counted.fake.next_fetches.append(b"body")
    assert await counted.provider.fetch("https://nowhere") == b"body"
    counted.fake.next_queries.append(TIMEOUT)
    assert await counted.provider.query("t") is TIMEOUT
    counted.fake.next_cancels.append(TIMEOUT)
    assert await counted.provider.cancel("t") is TIMEOUT
    counted.fake.next_lists.append(TIMEOUT)
    assert await counted.provider.list_tasks(1) is TIMEOUT
    counted.fake.offset_ms = 7
    assert counted.provider.clock_offset_ms() == 7


def test_every_uncertain_submit_is_counted_and_how_it_ended(metrics: Metrics) -> None:
    for change in (UncertainOutcome.BEGUN, UncertainOutcome.BEGUN, UncertainOutcome.ADOPTED):
        PipelineInstrumentation(metrics).uncertain(change)
    counts = {
        change: value(metrics, "scribe_uncertain_submits_total", event=change) for change in UncertainOutcome
    }
    assert {change: count for change, count in counts.items() if count} == {
        UncertainOutcome.BEGUN: 2,
        UncertainOutcome.ADOPTED: 1,
    }


def test_a_stage_that_is_stopped_is_an_alert_and_says_when_it_goes_on(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).stage_stopped(StageName.POLL, True)
    assert value(metrics, "scribe_stage_stopped", stage="poll") == 1
    PipelineInstrumentation(metrics).stage_stopped(StageName.POLL, False)
    assert value(metrics, "scribe_stage_stopped", stage="poll") == 0
    assert value(metrics, "scribe_stage_stops_total", stage="poll") == 1
    assert [(line["stage"], line["change"], line["log_level"]) for line in lines] == [
        ("poll", "stopped", "error"),
        ("poll", "resumed", "info"),
    ]


def test_what_the_audit_restores_is_counted_and_said(metrics: Metrics, lines: Lines) -> None:
    PipelineInstrumentation(metrics).work_restored(3)
    assert value(metrics, "scribe_work_restored_total") == 3
    assert [(line["event"], line["count"]) for line in lines] == [("work_restored", 3)]


async def test_a_cancel_that_was_agreed_to_is_ok(counted: Counted, metrics: Metrics) -> None:
    counted.fake.statuses = (TaskStatus.PENDING,)
    await counted.submit()
    assert await counted.provider.cancel("task-1") is None
    assert calls(metrics, "cancel") == {"ok": 1}


async def test_codes_that_the_table_does_not_name_are_counted_wherever_they_stand(
    counted: Counted, metrics: Metrics
) -> None:
    known, of_task, of_file = (
        ProviderError("InternalError", "x"),
        ProviderError("NewTask", "x"),
        ProviderError("NewFile", "x"),
    )
    files = (FileView("https://h/a", provider_error=of_file), FileView("https://h/b", provider_error=known))
    counted.fake.next_queries.append(TaskView("t", TaskStatus.FAILED, files, of_task))
    await counted.provider.query("t")
    counted.fake.next_submits.append(Refused(ProviderError("NewSubmit", "x", 400)))
    await counted.submit()
    for code in ("NewTask", "NewFile", "NewSubmit"):
        assert value(metrics, "scribe_provider_unknown_codes_total", code=code) == 1
    assert value(metrics, "scribe_provider_unknown_codes_total") == 3


def priced(model: str, prices: dict[str, Price]) -> Metrics:
    metrics = Metrics(clock=FakeClock())
    heard = job(JobState.FINISHING, task_end=TaskEnd(billed_seconds=8), ending=ResultEnding(transcript()))
    heard = replace(heard, request=replace(heard.request, model=model))
    PipelineInstrumentation(metrics, prices).published(job_outcome(heard, None, NOW_MS, OutcomeRules()))
    return metrics


def test_a_result_counts_its_cost_where_its_model_has_a_price() -> None:
    assert value(priced("fun-asr", {"fun-asr": Price(0.5)}), "scribe_cost_total", model="fun-asr") == 4.0
    assert value(priced("fun-asr-mtl", {"fun-asr": Price(0.5)}), "scribe_cost_total") == 0.0


def test_without_prices_there_is_no_cost_metric() -> None:
    assert b"scribe_cost" not in priced("fun-asr", {}).page()


def test_a_step_of_the_wall_clock_is_counted_and_logged(metrics: Metrics, lines: Lines) -> None:
    time_event(metrics, TimeEvent.STEPPED, 259_200.0004)
    time_event(metrics, TimeEvent.RETURNED, 0.0)
    assert value(metrics, "scribe_clock_steps_total") == 1
    assert [(each["event"], each["log_level"], each["change"]) for each in lines] == [
        ("clock", "error", "stepped"),
        ("clock", "info", "returned"),
    ]
    assert lines[0]["wall_ahead_seconds"] == 259_200.0


async def test_a_call_about_hotwords_without_a_slot_is_not_counted(metrics: Metrics) -> None:
    async def refused() -> bool:
        return False

    faults = PipelineInstrumentation(metrics)
    lists = InstrumentedHotwordLists(FakeVocabularies(), metrics, FakeClock(), faults)
    assert await lists.delete("v", refused) is NO_SLOT
    assert calls(metrics, "hotwords") == {}
