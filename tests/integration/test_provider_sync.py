"""The error table again, from the answers of synchronous models: the native wire and OpenAI's shape."""

from collections.abc import AsyncIterator

import pytest

from sandbox.simulator import Fault, Simulator
from service.core.provider.answers import Answered, Bill, Lost, Refused, SubmitAnswer
from service.core.provider.error_table import on_submit
from service.errors import FailureCode
from service.provider.dashscope import DashScope
from service.provider.wire.answer_fields import TIMEOUT_CODES
from tests.integration.test_provider_simulator import (
    NATIVE,
    STREAMED,
    VENDOR_ROWS,
    Stage,
    dashscope,
    status_of,
    submit,
)

both_wires = pytest.mark.parametrize("model", [NATIVE, STREAMED])


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with dashscope(seconds=3.0) as ready:
        yield ready


async def call(provider: DashScope, model: str, script: str = "") -> SubmitAnswer:
    return await submit(provider, f"text=Hello+there.&{script}", model)


def fault(simulator: Simulator, kind: str, **fields: object) -> None:
    simulator.state.add_fault(Fault(on="transcribe", kind=kind, **fields))  # type: ignore[arg-type]


@both_wires
async def test_each_code_of_the_table_gets_its_policy_on_both_wires(stage: Stage, model: str) -> None:
    provider, simulator = stage
    for code, row in VENDOR_ROWS:
        status = status_of(code)
        fault(simulator, "status", status=status, code=code, message="no")
        answer = await call(provider, model)
        assert isinstance(answer, Lost if code in TIMEOUT_CODES else Refused), code
        assert answer.provider_error.http_status == status
        # In OpenAI's shape some codes have another name, and the same row.
        assert model == STREAMED or answer.provider_error.code == code
        assert on_submit(answer.provider_error) == row.on_submit, code
    assert simulator.ledger().submits == []


@both_wires
async def test_a_200_that_carries_a_business_code_is_refused(stage: Stage, model: str) -> None:
    provider, simulator = stage
    fault(simulator, "business_code", code="DataInspectionFailed", message="not allowed")
    answer = await call(provider, model)
    assert isinstance(answer, Refused)
    assert on_submit(answer.provider_error).code is FailureCode.CONTENT_REJECTED


@both_wires
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("garbage", {"status": 502}),
        ("garbage", {"status": 200}),
        ("drop_before", {}),
        ("drop_after", {}),
        ("slow", {"seconds": 30}),
    ],
)
async def test_what_may_have_been_billed_is_lost(
    stage: Stage, model: str, kind: str, fields: dict[str, object]
) -> None:
    provider, simulator = stage
    fault(simulator, kind, **fields)
    assert isinstance(await call(provider, model), Lost)


@both_wires
async def test_a_foreign_page_with_a_client_error_is_refused(stage: Stage, model: str) -> None:
    provider, simulator = stage
    fault(simulator, "garbage", status=403)
    answer = await call(provider, model)
    assert isinstance(answer, Refused)
    assert answer.provider_error.code == "http_error"


@pytest.mark.parametrize("kind", ["break_stream", "end_stream", "stream_error"])
async def test_a_stream_that_goes_wrong_amid_its_text_is_lost(stage: Stage, kind: str) -> None:
    provider, simulator = stage
    fault(simulator, kind, chunks=2, code="internal_error")
    answer = await call(provider, STREAMED)
    assert isinstance(answer, Lost)
    assert answer.provider_error.code == ("internal_error" if kind == "stream_error" else "connection_lost")
    assert "Hello" not in answer.provider_error.message


async def test_an_answer_of_each_wire_is_its_text_and_its_bill(stage: Stage) -> None:
    provider, _ = stage
    native = await call(provider, NATIVE, "duration=3")
    assert isinstance(native, Answered)
    assert native.bill == Bill(seconds=3)
    streamed = await call(provider, STREAMED, "duration=3")
    assert isinstance(streamed, Answered)
    assert streamed.document == {"text": "Hello there.", "finish_reason": "stop"}
    assert (streamed.bill.seconds, streamed.bill.is_estimated) == (3, True)
