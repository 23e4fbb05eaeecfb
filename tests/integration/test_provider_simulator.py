"""Every row of the error table, from the simulator's answer on the wire to the action."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from service.core.provider.answers import (
    Accepted,
    Lost,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskView,
)
from service.core.provider.error_table import TABLE, Action, Row, on_file, on_submit
from service.core.provider.own_codes import OWN_CODES
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.wire.answer_fields import TIMEOUT_CODES

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
"""The HTTP statuses of the vendor's table (docs/provider.md, section 7.2); 400 where none is named here."""


def status_of(code: str) -> int:
    if code.startswith(("InternalError", "internal_error")) and not code.endswith("InvalidParameter"):
        return 500
    if code.startswith(("Throttling", "Limit", "limit")):
        return 429
    return STATUSES.get(code, 400)


Stage = tuple[DashScope, Simulator]
NATIVE, STREAMED = "qwen3-asr-flash", "qwen3.5-omni-flash"
PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def dashscope(key: str = KEY, seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Stage]:
    config = SimulatorConfig(api_keys={KEY: "account"}, submit_rpm=None, query_qps=None, cancel_qps=None)
    async with serve(config) as simulator:
        account = DashScopeConfig(simulator.base_url, SecretStr(key), answer_timeout_seconds=seconds)
        async with DashScope(account) as provider:
            yield provider, simulator


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with dashscope() as ready:
        yield ready


async def submit(provider: DashScope, script: str = "", model: str = "fun-asr") -> SubmitAnswer:
    return await provider.submit(model, [f"https://media.example/a.wav?run=0&{script}"], {})


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


@pytest.mark.parametrize(("code", "row"), VENDOR_ROWS, ids=[code for code, _ in VENDOR_ROWS])
async def test_each_code_of_the_table_gets_its_policy_from_the_wire(
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


@pytest.mark.parametrize("model", ["fun-asr", NATIVE, STREAMED])
async def test_a_wrong_key_holds_and_names_the_host_and_never_itself(
    caplog: pytest.LogCaptureFixture, model: str
) -> None:
    caplog.set_level("DEBUG")
    wrong = "sk-wrong-0123456789abcdef"
    async with dashscope(key=wrong) as (provider, simulator):
        answer = await submit(provider, model=model)
        seen = (answer, await provider.query("x"), await provider.cancel("x"), provider)
    assert isinstance(answer, Refused)
    assert on_submit(answer.provider_error).action is Action.HOLD
    assert "key not valid for host 127.0.0.1" in answer.provider_error.message
    assert all(wrong not in text for text in (*map(repr, seen), caplog.text))
    assert simulator.ledger().submits == []
