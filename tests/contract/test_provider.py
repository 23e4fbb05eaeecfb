"""What every provider behind the port does, shown on DashScope with the simulator and on the fake."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from pydantic import SecretStr

from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from service.contract.model_table import Family
from service.core.provider.answers import (
    Accepted,
    Answered,
    FileView,
    ListedTask,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    TaskPage,
    TaskStatus,
    TaskView,
)
from service.core.transcript.normalise import normalise
from service.provider.api import Provider
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.result_files import FetchGuard
from service.provider.wire.task_list import PAGE_SIZES
from tests.fakes.provider import NO_CONNECTION, TOO_LATE_TO_CANCEL, AfterWork, FakeProvider

A = "https://media.example/a.wav"
LIST_PAGE = 2
"""Tasks on a page of the list, whatever is asked for."""


class Stage(Protocol):
    """A provider, and the hands behind it."""

    provider: Provider

    def file(
        self, name: str, *, fail: str = "", task_fail: str = "", status: str = "", text: str = ""
    ) -> str:
        """The URL of a file that behaves so."""
        ...

    def refuse_submit(self, status: int, code: str) -> None:
        """Answer the next submit with an error, and make no task."""
        ...

    def lose_answer(self) -> None:
        """Make the next submit's task and keep the answer."""
        ...

    def break_query(self, status: int, code: str) -> None:
        """Answer the next query with an error."""
        ...

    def break_fetch(self, status: int) -> None:
        """Answer the next fetch with an error."""
        ...

    def break_list(self, status: int, code: str) -> None:
        """Answer the next list call with an error."""
        ...

    def billed(self) -> Counter[str]:
        """How often each file was in a submit that made a task."""
        ...


async def until_over(provider: Provider, task_id: str) -> TaskView:
    """Look at the task until it is over."""
    async with asyncio.timeout(60):
        while True:
            view = await provider.query(task_id)
            assert isinstance(view, TaskView)
            if view.is_terminal:
                return view
            await asyncio.sleep(0.02)


class SimulatorStage:
    """DashScope over HTTP against a simulator in this process, whose clock runs fifty times as fast."""

    def __init__(self, simulator: Simulator, provider: Provider) -> None:
        self.provider = provider
        self._simulator = simulator

    def file(
        self, name: str, *, fail: str = "", task_fail: str = "", status: str = "", text: str = ""
    ) -> str:
        keys = {"fail": fail, "task_fail": task_fail, "status": status, "text": text}
        script = "&".join(f"{key}={value}" for key, value in keys.items() if value)
        return f"https://media.example/{name}.wav?run=0.5&{script}"

    def refuse_submit(self, status: int, code: str) -> None:
        for call in ("submit", "transcribe"):
            self._add(Fault(on=call, kind="status", status=status, code=code, message="no"))

    def lose_answer(self) -> None:
        for call in ("submit", "transcribe"):
            self._add(Fault(on=call, kind="drop_after"))

    def break_query(self, status: int, code: str) -> None:
        self._add(Fault(on="query", kind="status", status=status, code=code, message="no"))

    def break_list(self, status: int, code: str) -> None:
        self._add(Fault(on="list", kind="status", status=status, code=code, message="no"))

    def break_fetch(self, status: int) -> None:
        self._add(Fault(on="result", kind="status", status=status))

    def _add(self, fault: Fault) -> None:
        self._simulator.state.add_fault(fault)

    def billed(self) -> Counter[str]:
        return self._simulator.ledger().submitted_urls()


class FakeStage:
    """The fake, scripted."""

    def __init__(self) -> None:
        self.fake = FakeProvider(page_size=LIST_PAGE)
        self.provider: Provider = self.fake

    def file(
        self, name: str, *, fail: str = "", task_fail: str = "", status: str = "", text: str = ""
    ) -> str:
        url = f"https://media.example/{name}.wav"
        if fail:
            self.fake.file_errors[url] = ProviderError(fail, fail)
        if task_fail:
            self.fake.task_errors[url] = ProviderError(task_fail, task_fail)
        if text:
            self.fake.texts[url] = text
        if status == "PENDING_FOREVER":
            self.fake.statuses = (TaskStatus.PENDING,)
        return url

    def refuse_submit(self, status: int, code: str) -> None:
        self.fake.next_submits.append(Refused(ProviderError(code, "no", status)))

    def lose_answer(self) -> None:
        self.fake.next_submits.append(AfterWork.LOSE_ANSWER)

    def break_query(self, status: int, code: str) -> None:
        self.fake.next_queries.append(ProviderError(code, "no", status))

    def break_list(self, status: int, code: str) -> None:
        self.fake.next_lists.append(ProviderError(code, "no", status))

    def break_fetch(self, status: int) -> None:
        self.fake.next_fetches.append(ProviderError("http_error", f"it answered {status}", status))

    def billed(self) -> Counter[str]:
        return Counter(url for task in self.fake.submits for url in task.file_urls)


@asynccontextmanager
async def simulator_stage() -> AsyncIterator[Stage]:
    config = SimulatorConfig(
        speed=50.0, query_qps=None, cancel_qps=None, list_page_limit=LIST_PAGE, files_per_task=100
    )
    async with serve(config) as simulator:
        account = DashScopeConfig(simulator.base_url, SecretStr("sk-simulator"), submit_timeout_seconds=5.0)
        async with DashScope(account, FetchGuard(plain_http_hosts=("127.0.0.1",))) as provider:
            yield SimulatorStage(simulator, provider)


@asynccontextmanager
async def fake_stage() -> AsyncIterator[Stage]:
    yield FakeStage()


@pytest.fixture(params=[simulator_stage, fake_stage], ids=["dashscope", "fake"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    opened: AbstractAsyncContextManager[Stage] = request.param()
    async with opened as ready:
        yield ready


async def submitted(stage: Stage, *urls: str) -> str:
    answer = await stage.provider.submit("fun-asr", urls, {})
    assert isinstance(answer, Accepted)
    return answer.task_id


async def test_an_accepted_submit_is_one_billed_task_that_can_be_seen(stage: Stage) -> None:
    url = stage.file("a")
    task_id = await submitted(stage, url)
    assert stage.billed() == {url: 1}
    view = await stage.provider.query(task_id)
    assert isinstance(view, TaskView)
    assert view.task_id == task_id
    assert view.status is not TaskStatus.UNKNOWN


async def test_two_submits_of_one_file_are_two_tasks_and_two_bills(stage: Stage) -> None:
    url = stage.file("a")
    assert await submitted(stage, url) != await submitted(stage, url)
    assert stage.billed() == {url: 2}


async def test_a_finished_task_lists_every_file_by_its_url(stage: Stage) -> None:
    urls = [stage.file(name) for name in "abcd"]
    view = await until_over(stage.provider, await submitted(stage, *urls))
    assert view.status is TaskStatus.SUCCEEDED
    assert {file.file_url for file in view.files} == set(urls)
    assert all(file.transcription_url and file.provider_error is None for file in view.files)
    assert view.billed_seconds is not None
    assert view.end_time is not None


async def test_a_task_that_is_not_over_lists_nothing(stage: Stage) -> None:
    view = await stage.provider.query(await submitted(stage, stage.file("a", status="PENDING_FOREVER")))
    assert isinstance(view, TaskView)
    assert (view.status, view.files, view.is_terminal) == (TaskStatus.PENDING, (), False)


async def test_a_result_is_fetched_and_is_the_vendors_json(stage: Stage) -> None:
    url = stage.file("a", text="hello")
    (file,) = (await until_over(stage.provider, await submitted(stage, url))).files
    assert file.transcription_url is not None
    body = await stage.provider.fetch(file.transcription_url)
    assert isinstance(body, bytes)
    document = json.loads(body)
    assert document["file_url"] == url
    assert document["transcripts"][0]["text"] == "hello"


async def test_a_failed_file_does_not_take_the_others_along(stage: Stage) -> None:
    good, bad = stage.file("good"), stage.file("bad", fail="FILE_DOWNLOAD_FAILED")
    view = await until_over(stage.provider, await submitted(stage, good, bad))
    files = {file.file_url: file for file in view.files}
    assert view.status is TaskStatus.SUCCEEDED
    assert files[good].transcription_url is not None
    assert files[bad] == FileView(
        bad, provider_error=ProviderError("FILE_DOWNLOAD_FAILED", "FILE_DOWNLOAD_FAILED")
    )


async def test_a_failed_task_has_its_code_and_no_files(stage: Stage) -> None:
    view = await until_over(
        stage.provider, await submitted(stage, stage.file("a", task_fail="FILE_403_FORBIDDEN"))
    )
    assert (view.status, view.files) == (TaskStatus.FAILED, ())
    assert view.provider_error == ProviderError("FILE_403_FORBIDDEN", "FILE_403_FORBIDDEN")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "Arrearage"), (401, "InvalidApiKey"), (429, "Throttling"), (500, "InternalError")],
)
async def test_a_refused_submit_has_the_vendors_code_and_is_not_billed(
    stage: Stage, status: int, code: str
) -> None:
    stage.refuse_submit(status, code)
    answer = await stage.provider.submit("fun-asr", [A], {})
    assert isinstance(answer, Refused)
    assert (answer.provider_error.code, answer.provider_error.http_status) == (code, status)
    assert stage.billed() == {}


async def test_a_submit_whose_answer_was_lost_is_billed_once_and_reported_as_lost(stage: Stage) -> None:
    stage.lose_answer()
    assert isinstance(await stage.provider.submit("fun-asr", [A], {}), Lost)
    assert stage.billed() == {A: 1}


# Models that answer a submit with the transcript.

SHORT = "qwen3-asr-flash"


async def test_a_synchronous_model_answers_with_what_it_heard_and_makes_no_task(stage: Stage) -> None:
    url = stage.file("a", text="Hello.")
    answer = await stage.provider.submit(SHORT, [url], {})
    assert isinstance(answer, Answered)
    assert normalise(answer.document, Family.QWEN_ASR).channels[0].text == "Hello."
    assert answer.bill.seconds is not None
    assert stage.billed() == {url: 1}
    page = await stage.provider.list_tasks(1)
    assert isinstance(page, TaskPage)
    assert page.tasks == ()


async def test_a_synchronous_call_that_is_refused_is_not_billed(stage: Stage) -> None:
    stage.refuse_submit(400, "InvalidURL")
    answer = await stage.provider.submit(SHORT, [stage.file("a")], {})
    assert isinstance(answer, Refused)
    assert (answer.provider_error.code, answer.provider_error.http_status) == ("InvalidURL", 400)
    assert stage.billed() == {}


async def test_a_synchronous_call_whose_answer_was_lost_is_billed_and_reported_as_lost(stage: Stage) -> None:
    stage.lose_answer()
    url = stage.file("a")
    assert isinstance(await stage.provider.submit(SHORT, [url], {}), Lost)
    assert stage.billed() == {url: 1}


async def test_a_qwen_asr_task_has_one_file_that_only_its_result_names(stage: Stage) -> None:
    url = stage.file("a", text="Hello.")
    answer = await stage.provider.submit("qwen3-asr-flash-filetrans", [url], {})
    assert isinstance(answer, Accepted)
    view = await until_over(stage.provider, answer.task_id)
    [file] = view.files
    assert file.file_url == ""
    body = await stage.provider.fetch(file.transcription_url or "")
    assert isinstance(body, bytes)
    assert json.loads(body)["file_url"] == url
    assert view.billed_seconds is not None


async def test_a_task_that_does_not_exist_is_unknown(stage: Stage) -> None:
    view = await stage.provider.query("00000000-0000-4000-8000-00000000dead")
    assert isinstance(view, TaskView)
    assert (view.status, view.files) == (TaskStatus.UNKNOWN, ())


async def test_a_query_that_fails_is_an_error_and_the_next_one_sees_the_task(stage: Stage) -> None:
    task_id = await submitted(stage, stage.file("a"))
    stage.break_query(429, "Throttling.RateQuota")
    assert await stage.provider.query(task_id) == ProviderError("Throttling.RateQuota", "no", 429)
    assert isinstance(await stage.provider.query(task_id), TaskView)


async def test_a_pending_task_can_be_cancelled(stage: Stage) -> None:
    task_id = await submitted(stage, stage.file("a", status="PENDING_FOREVER"))
    assert await stage.provider.cancel(task_id) is None
    view = await stage.provider.query(task_id)
    assert isinstance(view, TaskView)
    assert view.status is TaskStatus.CANCELED
    assert view.is_terminal


async def test_a_finished_or_unknown_task_cannot_be_cancelled(stage: Stage) -> None:
    task_id = await submitted(stage, stage.file("a"))
    await until_over(stage.provider, task_id)
    for cancelled in (task_id, "00000000-0000-4000-8000-00000000dead"):
        refused = await stage.provider.cancel(cancelled)
        assert refused is not None
        assert (refused.code, refused.http_status) == (
            TOO_LATE_TO_CANCEL.code,
            TOO_LATE_TO_CANCEL.http_status,
        )


async def test_a_result_that_is_not_given_out_is_an_error_with_its_status(stage: Stage) -> None:
    (file,) = (await until_over(stage.provider, await submitted(stage, stage.file("a")))).files
    assert file.transcription_url is not None
    stage.break_fetch(403)
    found = await stage.provider.fetch(file.transcription_url)
    assert isinstance(found, ProviderError)
    assert (found.code, found.http_status) == ("http_error", 403)
    assert isinstance(await stage.provider.fetch(file.transcription_url), bytes)


async def listed(provider: Provider) -> list[ListedTask]:
    """All pages of the list, in their order."""
    found: list[ListedTask] = []
    for page_no in range(1, 20):
        page = await provider.list_tasks(page_no)
        assert isinstance(page, TaskPage)
        if not page.tasks:
            return found
        assert page.total == 5
        found.extend(page.tasks)
    raise AssertionError("the list has no end")


async def test_the_list_shows_every_task_once_and_ends_with_an_empty_page(stage: Stage) -> None:
    made = [await submitted(stage, stage.file(f"l{number}")) for number in range(5)]
    tasks = await listed(stage.provider)
    assert sorted(task.task_id for task in tasks) == sorted(made)
    created = [task.created_ms for task in tasks]
    assert created == sorted(created, reverse=True)


async def test_the_list_says_when_a_task_is_over(stage: Stage) -> None:
    task_id = await submitted(stage, stage.file("a"))
    await until_over(stage.provider, task_id)
    page = await stage.provider.list_tasks(1)
    assert isinstance(page, TaskPage)
    assert [(task.task_id, task.status) for task in page.tasks] == [(task_id, TaskStatus.SUCCEEDED)]


async def test_the_list_shows_only_the_tasks_of_the_status_that_is_asked_for(stage: Stage) -> None:
    over = await submitted(stage, stage.file("a"))
    await until_over(stage.provider, over)
    waiting = await submitted(stage, stage.file("b", status="PENDING_FOREVER"))
    shown = {}
    for status in (TaskStatus.SUCCEEDED, TaskStatus.PENDING, TaskStatus.FAILED):
        page = await stage.provider.list_tasks(1, status=status)
        assert isinstance(page, TaskPage)
        shown[status] = [(task.task_id, task.status) for task in page.tasks]
        assert page.total == len(page.tasks)
    assert shown[TaskStatus.SUCCEEDED] == [(over, TaskStatus.SUCCEEDED)]
    assert shown[TaskStatus.PENDING] == [(waiting, TaskStatus.PENDING)]
    assert shown[TaskStatus.FAILED] == []


async def test_a_list_that_is_refused_is_an_error_and_the_next_one_works(stage: Stage) -> None:
    stage.break_list(429, "Throttling.RateQuota")
    refused = await stage.provider.list_tasks(1)
    assert isinstance(refused, ProviderError)
    assert (refused.code, refused.http_status) == ("Throttling.RateQuota", 429)
    assert isinstance(await stage.provider.list_tasks(1), TaskPage)


async def test_a_provider_that_cannot_be_reached_was_sent_nothing() -> None:
    async with serve(SimulatorConfig()) as simulator:
        base_url = simulator.base_url
    account = DashScopeConfig(base_url, SecretStr("sk-simulator"))
    fake = FakeProvider()
    fake.next_submits.append(NotSent(NO_CONNECTION))
    async with DashScope(account) as real:
        for provider in (real, fake):
            answer = await provider.submit("fun-asr", [A], {})
            assert isinstance(answer, NotSent)
            assert answer.provider_error.code == "connect_failed"
    assert fake.submits == []


async def test_a_page_size_that_the_vendor_refuses_is_not_asked_for_again() -> None:
    async with serve(SimulatorConfig(list_page_limit=10, refuses_large_pages=True)) as simulator:
        account = DashScopeConfig(simulator.base_url, SecretStr("sk-simulator"))
        async with DashScope(account) as provider:
            refused = await provider.list_tasks(1)
            assert isinstance(refused, ProviderError)
            assert refused.http_status == 400
            assert await provider.list_tasks(1) == TaskPage((), 0)
            assert await provider.list_tasks(1, status=TaskStatus.RUNNING) == TaskPage((), 0)


async def test_a_list_call_that_is_refused_for_another_reason_does_not_change_the_page_size() -> None:
    async with simulator_stage() as stage:
        for _ in range(2):
            stage.break_list(400, "InvalidParameter")
            assert isinstance(await stage.provider.list_tasks(1), ProviderError)
        stage.break_list(400, "InvalidParameter")
        assert isinstance(await stage.provider.list_tasks(2), ProviderError)
        assert isinstance(stage.provider, DashScope)
        assert stage.provider._page_size == PAGE_SIZES[0]
