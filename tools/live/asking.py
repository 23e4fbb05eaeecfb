"""How the questions about file tasks and the calls around them are put; see `inquiries` for all of them.

An ask yields answers as it comes by them and may stop, or raise, at any point: the rest has no answer then.
"""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.model_table import Family
from service.core.provider.answers import FileView, ProviderError, TaskView
from service.core.transcript.normalise import normalise
from service.provider.api import all_lists
from service.provider.wire.answer_fields import part
from tools.live import questions as q
from tools.live.account import Account, called
from tools.live.questions import Question, Seen

Answers = AsyncIterator[tuple[Question, Seen]]

NO_TASK = "00000000-0000-4000-8000-00000000dead"
ECHOED = "?scribe=%7Ea%2fb"
"""Behind a URL: what a careful server leaves alone, and what another tidies up."""
DATA = "data:audio/wav;base64,UklGRg=="


async def lists(account: Account) -> Answers:
    """Two pages of the list."""
    provider = account.provider
    page = await provider.list_tasks(1)
    document = provider.document()
    keys = [key for key in ("data", "tasks") if key in document]
    if isinstance(page, ProviderError) or not keys:
        yield q.LIST_KEY, Seen(called(page) if isinstance(page, ProviderError) else "neither")
        return
    yield q.LIST_KEY, Seen(keys[0])
    size = untrusted_json.token_count(document.get("page_size")) or 0
    yield q.PAGE_SIZE, Seen("smaller" if 0 < size < 100 else str(size), f"{size}, {len(page.tasks)} rows")
    last = await provider.list_tasks(99_999)
    if isinstance(last, ProviderError):
        yield q.LAST_PAGE, Seen(called(last))
    else:
        yield q.LAST_PAGE, Seen("a page with rows" if last.tasks else "an empty page")


async def two_files(account: Account) -> Answers:
    """The plain way of two files, looked at closely."""
    urls = [account.samples.female, account.samples.male + ECHOED]
    view = await account.ended(urls)
    if isinstance(view, ProviderError):
        yield q.TWO_FILES, Seen("refused", f"{called(view)}: {view.message}")
        urls = urls[1:]
        view = await account.ended(urls)
    else:
        yield q.TWO_FILES, Seen(q.YES if len(view.files) == 2 else "with other results", str(len(view.files)))
    if isinstance(view, ProviderError):
        yield q.QUERY, Seen(called(view))
        return
    yield q.QUERY, Seen(q.YES)
    document = account.provider.document()
    output = part(document, "output")
    yield q.USAGE, Seen("usage.duration" if "duration" in part(document, "usage") else "elsewhere")
    yield q.ZONE, Seen(_zone(output.get("submit_time"), account.provider.last.headers.get("date")))
    yield q.ECHO, Seen(q.YES if sorted(file.file_url for file in view.files) == sorted(urls) else q.NO)
    async for answer in _results(account, view):
        yield answer


async def _results(account: Account, view: TaskView) -> Answers:
    file = next((file for file in view.files if file.transcription_url), None)
    if file is None:
        yield (
            q.RESULT_FILE,
            Seen(
                "every file fails", ", ".join(f.provider_error.code for f in view.files if f.provider_error)
            ),
        )
        return
    again = await account.provider.query(view.task_id)
    if isinstance(again, TaskView):
        urls = [file.transcription_url for file in again.files]
        yield q.SIGNED_AGAIN, Seen(q.NO if file.transcription_url in urls else q.YES)
    body = await account.provider.fetch(file.transcription_url or "")
    if isinstance(body, ProviderError):
        yield q.RESULT_HOST, Seen(q.NO, f"{body.code}: {body.message}")
        return
    yield q.RESULT_HOST, Seen(q.YES)
    yield q.RESULT_FILE, Seen(q.YES if _text_of(body) else "without text")


async def missing_file(account: Account) -> Answers:
    """A task that cannot come to anything."""
    view = await account.ended([account.samples.missing])
    if isinstance(view, ProviderError):
        yield q.ALL_FAILED, Seen("refused", called(view))
        return
    has_results = "results" in part(account.provider.document(), "output")
    yield q.ALL_FAILED, Seen(str(view.status) + " with results" * (view.status == "FAILED" and has_results))
    provider_error = next(
        (file.provider_error for file in view.files if file.provider_error), view.provider_error
    )
    yield q.MISSING_FILE, Seen(provider_error.code if provider_error else "there is none")


async def odd_submit(
    question: Question, options: Mapping[str, JsonValue], account: Account, *, url: str | None = None
) -> Answers:
    """One file with options, or of a kind, that make no sense."""
    yield question, await _outcome(account, await account.ended([url or account.samples.female], options))


async def one_url_twice(account: Account) -> Answers:
    """The same file two times in one submit."""
    view = await account.ended([account.samples.female] * 2)
    if isinstance(view, ProviderError):
        yield q.TWICE, Seen("refused", called(view))
    else:
        yield q.TWICE, Seen(str(len(view.files)))


async def bad_model(account: Account) -> Answers:
    """A submit to no model."""
    view = await account.ended([account.samples.female], model="fun-asr-no-such")
    yield q.BAD_MODEL, Seen(called(view) if isinstance(view, ProviderError) else "it is accepted")


async def no_task(account: Account) -> Answers:
    """The calls on a task that is none."""
    provider_error = await account.provider.cancel(NO_TASK)
    yield q.CANCEL_UNKNOWN, Seen(called(provider_error) if provider_error else "it is agreed to")
    looked = await account.provider.query(NO_TASK)
    yield q.QUERY_UNKNOWN, Seen(called(looked) if isinstance(looked, ProviderError) else str(looked.status))


async def hotword_lists(account: Account) -> Answers:
    """The directory of hotword lists."""
    found = await all_lists(account.provider.hotword_lists.list_page)
    if isinstance(found, ProviderError):
        yield q.HOTWORD_LISTS, Seen(called(found))
    else:
        yield q.HOTWORD_LISTS, Seen(q.YES, f"{len(found)} lists")


async def one_result(account: Account) -> Answers:
    """The model whose task has one file."""
    view = await account.ended([account.samples.female], model="qwen3-asr-flash-filetrans")
    output = part(account.provider.document(), "output")
    if isinstance(view, ProviderError) or view.provider_error is not None:
        provider_error = view if isinstance(view, ProviderError) else view.provider_error
        yield q.ONE_RESULT, Seen(called(provider_error) if provider_error else "nowhere")
    else:
        yield q.ONE_RESULT, Seen(next((key for key in ("result", "results") if key in output), "nowhere"))


async def tokens(account: Account) -> Answers:
    """The model whose tasks are billed by tokens."""
    view = await account.ended([account.samples.female], model="qwen-audio-3.1-asr-flash-filetrans")
    if isinstance(view, ProviderError):
        yield q.TASK_TOKENS, Seen(called(view))
    else:
        usage = part(account.provider.document(), "usage")
        yield q.TASK_TOKENS, Seen(", ".join(f"usage.{name}" for name in sorted(usage)) or "nowhere")


async def _outcome(account: Account, view: TaskView | ProviderError) -> Seen:
    """What a submit of one file came to."""
    if isinstance(view, ProviderError):
        return Seen("refused", called(view))
    file = view.files[0] if view.files else FileView("", provider_error=view.provider_error)
    if file.provider_error is not None:
        return Seen("the file fails", file.provider_error.code)
    body = await account.provider.fetch(file.transcription_url or "")
    if isinstance(body, ProviderError):
        return Seen("accepted", f"its result was not read: {body.code}")
    return Seen("accepted", "with text" if _text_of(body) else "without text")


def _text_of(body: bytes) -> str:
    transcript = normalise(json.loads(body), Family.FUN_ASR)
    return "".join(channel.text for channel in transcript.channels).strip()


def _zone(local_time: JsonValue, date: str | None) -> str:
    """The zone in which it was just now this time."""
    if not isinstance(local_time, str) or date is None:
        return "not told"
    local = datetime.fromisoformat(local_time).replace(tzinfo=UTC)
    quarters = round((local - parsedate_to_datetime(date)).total_seconds() / 900)
    return f"GMT{quarters / 4:+g}"
