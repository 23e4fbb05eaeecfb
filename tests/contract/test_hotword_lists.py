"""What every holder of hotword lists does, shown on DashScope with the simulator and on the fake."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from pydantic import SecretStr

from sandbox.simulator import Fault, SimulatorConfig, serve
from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import HotwordListEntry, HotwordListPage, Need
from service.provider.api import NO_SLOT, HotwordLists, all_lists
from service.provider.dashscope import DashScope, DashScopeConfig
from tests.fakes.vocabularies import FakeVocabularies

WORDS = (HotwordListEntry("etcd", 4, "en"), HotwordListEntry("Kafka", 5))
NEED = Need("fun-asr", words=WORDS)
LISTS = 12
"""More than one page of the directory holds."""


@asynccontextmanager
async def on_simulator() -> AsyncIterator[HotwordLists]:
    async with serve(SimulatorConfig(hotword_lists=LISTS)) as simulator:
        account = DashScopeConfig(simulator.base_url, SecretStr("sk-simulator"))
        async with DashScope(account) as provider:
            yield provider.hotword_lists


@asynccontextmanager
async def in_memory() -> AsyncIterator[HotwordLists]:
    yield FakeVocabularies(most=LISTS)


@pytest.fixture(params=[on_simulator, in_memory], ids=["dashscope", "fake"])
async def lists(request: pytest.FixtureRequest) -> AsyncIterator[HotwordLists]:
    opened: AbstractAsyncContextManager[HotwordLists] = request.param()
    async with opened as ready:
        yield ready


async def made(lists: HotwordLists, prefix: str = NEED.prefix) -> str:
    answer = await lists.create(NEED.model, prefix, WORDS)
    assert isinstance(answer, str)
    return answer


async def test_a_list_is_found_by_its_prefix_and_says_what_it_was_made_for(lists: HotwordLists) -> None:
    vocabulary_id = await made(lists)
    shown = await all_lists(lists.list_page)
    assert not isinstance(shown, ProviderError)
    [listed] = shown
    assert (listed.vocabulary_id, listed.prefix) == (vocabulary_id, NEED.prefix)
    found = await lists.query(vocabulary_id)
    assert not isinstance(found, ProviderError)
    assert (found.target_model, found.is_ready, found.words) == ("fun-asr", True, WORDS)


async def test_the_directory_shows_every_list_of_the_account(lists: HotwordLists) -> None:
    ids = {await made(lists, f"demo{number:02}") for number in range(LISTS)}
    shown = await all_lists(lists.list_page)
    assert not isinstance(shown, ProviderError)
    assert {each.vocabulary_id for each in shown} == ids
    assert {each.prefix for each in shown} == {None}


async def test_a_full_account_takes_no_more(lists: HotwordLists) -> None:
    for _ in range(LISTS):
        await made(lists)
    refused = await lists.create(NEED.model, NEED.prefix, WORDS)
    assert isinstance(refused, ProviderError)
    assert (refused.code, refused.http_status) == ("Throttling.AllocationQuota", 400)


async def test_an_update_replaces_the_words_and_touches_the_list(lists: HotwordLists) -> None:
    vocabulary_id = await made(lists)
    assert await lists.update(vocabulary_id, WORDS[:1]) is None
    found = await lists.query(vocabulary_id)
    assert not isinstance(found, ProviderError)
    assert found.words == WORDS[:1]


async def test_a_deleted_list_is_not_found_by_any_action(lists: HotwordLists) -> None:
    vocabulary_id = await made(lists)
    assert await lists.delete(vocabulary_id) is None
    assert await all_lists(lists.list_page) == ()
    for provider_error in (
        await lists.query(vocabulary_id),
        await lists.update(vocabulary_id, WORDS),
        await lists.delete(vocabulary_id),
    ):
        assert isinstance(provider_error, ProviderError)
        assert (provider_error.code, provider_error.http_status) == ("NotFound", 404)


async def test_a_call_without_its_permit_is_not_made(lists: HotwordLists) -> None:
    async def refused() -> bool:
        return False

    vocabulary_id = await made(lists)
    for answer in (
        await lists.list_page(0, refused),
        await lists.query(vocabulary_id, refused),
        await lists.create(NEED.model, "other", WORDS, refused),
        await lists.update(vocabulary_id, WORDS[:1], refused),
        await lists.delete(vocabulary_id, refused),
    ):
        assert answer is NO_SLOT
    page = await lists.list_page(0)
    assert isinstance(page, HotwordListPage)
    [listed] = page.lists
    found = await lists.query(listed.vocabulary_id)
    assert not isinstance(found, ProviderError)
    assert (listed.vocabulary_id, found.words) == (vocabulary_id, WORDS)


async def test_an_error_on_the_wire_is_a_value() -> None:
    async with serve(SimulatorConfig()) as simulator:
        account = DashScopeConfig(simulator.base_url, SecretStr("sk-simulator"), call_timeout_seconds=3.0)
        async with DashScope(account) as provider:
            for kind, code in (
                ("status", "InternalError"),
                ("drop_after", "connection_lost"),
                ("hang", "timeout"),
            ):
                simulator.state.add_fault(Fault(on="hotwords", kind=kind))
                answer = await provider.hotword_lists.create(NEED.model, NEED.prefix, WORDS)
                assert isinstance(answer, ProviderError)
                assert answer.code == code
