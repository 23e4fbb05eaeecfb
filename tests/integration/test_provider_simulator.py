"""Every row of the table of verdicts, from the simulator's answer on the wire to the verdict."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from service.core.provider.answers import (
    OWN_CODES,
    Accepted,
    FileView,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskStatus,
    TaskView,
)
from service.core.provider.error_table import TABLE, Action, Row, on_fetch, on_file, on_submit
from service.errors import FailureCode
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.result_files import FetchGuard
from service.provider.wire.answers import TIMEOUT_CODES

KEY = "sk-canary-0123456789abcdef"
VENDOR_ROWS = [(code, row) for code, row in TABLE.items() if code not in OWN_CODES]

STATUSES = {
    "InvalidApiKey": 401,
    "invalid_api_key": 401,
    "NOT AUTHORIZED": 401,
    "AccessDenied": 403,
    "access_denied": 403,
    "AccessDenied.Unpurchased": 403,
    "Model.AccessDenied": 403,
    "Workspace.AccessDenied": 403,
    "App.AccessDenied": 403,
    "AllocationQuota.FreeTierOnly": 403,
    "ModelNotFound": 404,
    "model_not_found": 404,
    "model_not_supported": 404,
    "WorkSpaceNotFound": 404,
    "NotFound": 404,
    "Conflict": 409,
    "CommodityNotPurchased": 429,
    "PrepaidBillOverdue": 429,
    "PostpaidBillOverdue": 429,
    "insufficient_quota": 429,
    "SystemError": 500,
    "ModelServiceFailed": 500,
    "RequestTimeOut": 500,
    "ResponseTimeout": 500,
    "ModelServingError": 500,
    "ServiceUnavailable": 503,
    "ModelUnavailable": 503,
}
"""The HTTP statuses of the vendor's table (provider API, section 7.2); 400 where none is named here."""


def status_of(code: str) -> int:
    if code.startswith(("InternalError", "internal_error")) and not code.endswith("InvalidParameter"):
        return 500
    if code.startswith(("Throttling", "Limit", "limit")):
        return 429
    return STATUSES.get(code, 400)


Stage = tuple[DashScope, Simulator]


PATIENCE_SECONDS = 60.0
"""A busy machine may take its time over 50 MB."""
HASTE_SECONDS = 3.0
"""Of a client whose answer never comes; its request has to arrive by then."""


def patience(fault: Fault) -> float:
    """How long a client waits that meets the fault."""
    return HASTE_SECONDS if fault.kind in ("slow", "hang") else PATIENCE_SECONDS


@asynccontextmanager
async def dashscope(
    guard: FetchGuard | None = None, key: str = KEY, seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Stage]:
    config = SimulatorConfig(api_keys={KEY: "account"}, submit_rpm=None, query_qps=None, cancel_qps=None)
    async with serve(config) as simulator:
        account = DashScopeConfig(
            simulator.base_url, SecretStr(key), submit_timeout_seconds=seconds, call_timeout_seconds=seconds
        )
        guard = guard or FetchGuard(plain_http_hosts=("127.0.0.1",), timeout_seconds=PATIENCE_SECONDS)
        async with DashScope(account, guard) as provider:
            yield provider, simulator


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with dashscope() as ready:
        yield ready


async def submit(provider: DashScope, script: str = "") -> SubmitAnswer:
    return await provider.submit("fun-asr", [f"https://media.example/a.wav?run=0&{script}"], {})


async def finished(provider: DashScope, script: str = "") -> TaskView:
    answer = await submit(provider, script)
    assert isinstance(answer, Accepted)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            view = await provider.query(answer.task_id)
            assert isinstance(view, TaskView)
            if view.is_terminal:
                return view
            await asyncio.sleep(0.01)


async def result_url(provider: DashScope) -> str:
    (file,) = (await finished(provider)).files
    assert file.transcription_url is not None
    return file.transcription_url


@pytest.mark.parametrize(("code", "row"), VENDOR_ROWS, ids=[code for code, _ in VENDOR_ROWS])
async def test_each_code_of_the_table_gets_its_verdict_from_the_wire(
    stage: Stage, code: str, row: Row
) -> None:
    provider, simulator = stage
    status = status_of(code)
    simulator.state.add_fault(Fault(on="submit", kind="status", status=status, code=code, message="no"))
    simulator.state.add_fault(Fault(on="query", kind="status", status=status, code=code, message="no"))

    answer = await submit(provider)
    assert isinstance(answer, Lost | Refused)
    assert isinstance(answer, Lost) == (code in TIMEOUT_CODES)
    assert (answer.provider_error.code, answer.provider_error.http_status) == (code, status)
    assert on_submit(answer.provider_error) == row.on_submit
    assert simulator.ledger().submits == []

    looked = await provider.query("some-task")
    assert isinstance(looked, ProviderError)
    assert looked.code == code

    (file,) = (await finished(provider, f"fail={quote(code)}")).files
    assert file.provider_error is not None
    assert file.provider_error.code == code
    assert on_file(file.provider_error) == row.on_file

    view = await finished(provider, f"task_fail={quote(code)}")
    assert view.provider_error is not None
    assert view.provider_error.code == code
    assert on_file(view.provider_error) == row.on_file


@pytest.mark.parametrize(
    ("fault", "ending", "code", "billed"),
    [
        (Fault(on="submit", kind="drop_before"), Lost, "connection_lost", 0),
        (Fault(on="submit", kind="drop_after"), Lost, "connection_lost", 1),
        (Fault(on="submit", kind="truncate"), Lost, "connection_lost", 1),
        (Fault(on="submit", kind="slow", seconds=30.0), Lost, "timeout", 1),
        (Fault(on="submit", kind="hang"), Lost, "timeout", 0),
        (Fault(on="submit", kind="garbage"), Lost, "not_json", 0),
        (Fault(on="submit", kind="garbage", status=502), Lost, "http_error", 0),
        (Fault(on="submit", kind="garbage", status=504), Lost, "http_error", 0),
        (Fault(on="submit", kind="garbage", status=403), Refused, "http_error", 0),
        (Fault(on="submit", kind="huge"), Lost, "not_json", 0),
        (Fault(on="submit", kind="huge", gzip=True), Lost, "not_json", 0),
        (Fault(on="submit", kind="redirect"), Refused, "http_error", 0),
        (Fault(on="submit", kind="business_code", code="Throttling"), Refused, "Throttling", 0),
    ],
    ids=lambda value: f"{value.kind}-{value.http_status()}" if isinstance(value, Fault) else None,
)
async def test_each_way_a_submit_can_break_is_told_apart(
    fault: Fault, ending: type[Lost | Refused], code: str, billed: int
) -> None:
    async with dashscope(seconds=patience(fault)) as (provider, simulator):
        simulator.state.add_fault(fault)
        answer = await submit(provider)
        assert isinstance(answer, ending)
        assert answer.provider_error.code == code
        assert len(simulator.ledger().submits) == billed
        assert len(simulator.ledger().calls_of("submit")) == 1
        assert isinstance(await submit(provider), Accepted)


async def test_a_provider_that_went_away_was_sent_nothing(stage: Stage) -> None:
    async with dashscope() as (provider, simulator):
        pass
    account = DashScopeConfig(simulator.base_url, SecretStr(KEY))
    async with DashScope(account) as provider:
        assert isinstance(await submit(provider), NotSent)


@pytest.mark.parametrize(
    "kind", ["drop_before", "drop_after", "hang", "garbage", "huge", "truncate", "redirect"]
)
async def test_a_broken_query_is_trouble_and_the_next_one_is_not(kind: str) -> None:
    fault = Fault(on="query", kind=kind)
    async with dashscope(seconds=patience(fault)) as (provider, simulator):
        answer = await submit(provider)
        assert isinstance(answer, Accepted)
        simulator.state.add_fault(fault)
        looked = await provider.query(answer.task_id)
        assert isinstance(looked, ProviderError)
        assert isinstance(await provider.query(answer.task_id), TaskView)


def action_for(kind: str, status: int | None, code: str) -> Action:
    """A link that may have expired is asked for anew; what can never be read fails; the rest may pass."""
    if code == "fetch_too_large" or kind == "redirect":
        return Action.FAIL
    return Action.RECONCILE if status == 403 else Action.RETRY


RESULT_FAULTS: list[tuple[Fault, str, Action, FailureCode]] = [
    (
        Fault(on="result", kind=kind, status=status, size_bytes=size_bytes, gzip=gzip, seconds=30.0),
        code,
        action_for(kind, status, code),
        failure,
    )
    for kind, status, size_bytes, gzip, code, failure in (
        ("status", 403, 0, False, "http_error", FailureCode.RESULT_EXPIRED),
        ("status", 503, 0, False, "http_error", FailureCode.RESULT_UNREADABLE),
        ("redirect", None, 0, False, "http_error", FailureCode.RESULT_REFUSED),
        ("drop_after", None, 0, False, "connection_lost", FailureCode.RESULT_UNREADABLE),
        ("truncate", None, 0, False, "connection_lost", FailureCode.RESULT_UNREADABLE),
        ("slow", None, 0, False, "timeout", FailureCode.RESULT_UNREADABLE),
        ("hang", None, 0, False, "timeout", FailureCode.RESULT_UNREADABLE),
        ("huge", None, 5_000_000, False, "fetch_too_large", FailureCode.RESULT_UNREADABLE),
        ("huge", None, 50_000_000, True, "fetch_too_large", FailureCode.RESULT_UNREADABLE),
    )
]


@pytest.mark.parametrize(
    ("fault", "code", "action", "failure"),
    RESULT_FAULTS,
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_each_way_a_fetch_can_break_gets_its_verdict(
    fault: Fault, code: str, action: Action, failure: FailureCode
) -> None:
    guard = FetchGuard(
        plain_http_hosts=("127.0.0.1",),
        timeout_seconds=patience(fault),
        max_compressed_bytes=2_000_000,
        max_decoded_bytes=4_000_000,
    )
    async with dashscope(guard) as (provider, simulator):
        url = await result_url(provider)
        simulator.state.add_fault(fault)
        found = await provider.fetch(url)
        assert isinstance(found, ProviderError)
        policy = on_fetch(found)
        assert (found.code, policy.action, policy.code) == (code, action, failure)
        assert isinstance(await provider.fetch(url), bytes)
        assert simulator.ledger().leaked_keys() == 0


async def test_a_result_that_has_expired_is_trouble_that_says_so(stage: Stage) -> None:
    provider, simulator = stage
    url = await result_url(provider)
    simulator.state.clock.advance(25 * 3600)
    found = await provider.fetch(url)
    assert isinstance(found, ProviderError)
    assert found.http_status == 403
    assert on_fetch(found).code is FailureCode.RESULT_EXPIRED


async def test_a_guard_that_does_not_name_the_simulator_fetches_nothing_from_it() -> None:
    async with dashscope(FetchGuard()) as (provider, simulator):
        found = await provider.fetch(await result_url(provider))
        assert isinstance(found, ProviderError)
        assert on_fetch(found).code is FailureCode.RESULT_REFUSED
        assert simulator.ledger().calls_of("result") == []


async def test_a_wish_for_delay_arrives_and_one_out_of_bounds_is_none(stage: Stage) -> None:
    provider, simulator = stage
    for wish in ("7", "9999"):
        simulator.state.add_fault(
            Fault(on="submit", kind="status", status=429, code="Throttling", retry_after=wish)
        )
    answers = [await submit(provider) for _ in range(2)]
    assert [
        answer.provider_error.retry_after_seconds for answer in answers if isinstance(answer, Refused)
    ] == [
        7,
        None,
    ]


async def test_a_failed_task_may_have_usable_files(stage: Stage) -> None:
    provider, _ = stage
    view = await finished(provider, "task_fail=InternalError&keep_results=1")
    assert view.status is TaskStatus.FAILED
    assert view.provider_error is not None
    (file,) = view.files
    assert file.transcription_url is not None


async def test_silence_is_an_empty_transcript(stage: Stage) -> None:
    provider, _ = stage
    (file,) = (await finished(provider, "silence=1")).files
    assert isinstance(file, FileView)
    assert file.provider_error is not None
    assert on_file(file.provider_error).action is Action.EMPTY


async def test_a_wrong_key_holds_and_names_the_host_and_never_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    wrong = "sk-wrong-0123456789abcdef"
    async with dashscope(key=wrong) as (provider, simulator):
        answer = await submit(provider)
        shown = [
            repr(answer),
            repr(await provider.query("x")),
            repr(await provider.cancel("x")),
            repr(provider),
        ]
    assert isinstance(answer, Refused)
    assert on_submit(answer.provider_error).action is Action.HOLD
    assert "127.0.0.1" in answer.provider_error.message
    assert all(wrong not in text for text in (*shown, caplog.text))
    assert simulator.ledger().submits == []
