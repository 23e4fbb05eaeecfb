"""All that is asked, in order, and the running of it: whatever a call does, its questions get their rows."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from service.contract.model_table import MODELS
from tools.live import asking, calls
from tools.live import questions as q
from tools.live.account import MODEL, Account, NoAnswer
from tools.live.asking import Answers
from tools.live.questions import ErrorPolicy, Question, Seen

LONGEST_SECONDS = 300.0
"""Of one inquiry, which has at most two tasks."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Calls that belong together, the questions that they answer and how many files they have transcribed.

    `models` are those that are asked, if any.
    """

    ask: Callable[[Account], Answers]
    questions: tuple[Question, ...]
    files: int = 0
    models: tuple[str, ...] = ()

    def is_offered(self, region: str) -> bool:
        """Whether the region has its models."""
        return all(region in MODELS[model].regions for model in self.models)


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its answer."""

    question: Question
    seen: Seen
    policy: ErrorPolicy


_ODD_OPTIONS: dict[Question, dict[str, JsonValue]] = {
    q.LACKED_CHANNEL: {"channel_id": [1]},
    q.BAD_HINT: {"language_hints": ["xx"]},
    q.MANY_SPEAKERS: {"diarization_enabled": True, "speaker_count": 1000},
    q.NO_VOCABULARY: {"vocabulary_id": "vocab-scribe-0123456789abcdef0123"},
}
INQUIRIES = (
    Inquiry(asking.lists, (q.LIST_KEY, q.PAGE_SIZE, q.LAST_PAGE)),
    Inquiry(asking.hotword_lists, (q.HOTWORD_LISTS,)),
    Inquiry(asking.no_task, (q.CANCEL_UNKNOWN, q.QUERY_UNKNOWN)),
    Inquiry(asking.bad_model, (q.BAD_MODEL,), 0, (MODEL,)),
    Inquiry(partial(asking.odd_submit, q.DATA_URL, {}, url=asking.DATA), (q.DATA_URL,), 0, (MODEL,)),
    Inquiry(
        asking.two_files,
        (q.TWO_FILES, q.QUERY, q.USAGE, q.ZONE, q.ECHO, q.SIGNED_AGAIN, q.RESULT_HOST, q.RESULT_FILE),
        2,
        (MODEL,),
    ),
    Inquiry(asking.missing_file, (q.ALL_FAILED, q.MISSING_FILE), 0, (MODEL,)),
    Inquiry(asking.one_url_twice, (q.TWICE,), 2, (MODEL,)),
    *(
        Inquiry(partial(asking.odd_submit, question, options), (question,), 1, (MODEL,))
        for question, options in _ODD_OPTIONS.items()
    ),
    Inquiry(asking.one_result, (q.ONE_RESULT,), 1, ("qwen3-asr-flash-filetrans",)),
    Inquiry(asking.tokens, (q.TASK_TOKENS,), 1, ("qwen-audio-3.1-asr-flash-filetrans",)),
    Inquiry(calls.short_audio, (q.SAMPLE_RATE, q.NESTING), 1, (calls.SHORT,)),
    Inquiry(calls.speakers, (q.SHORT_TOKENS, q.SPEAKERS), 1, ("qwen-audio-3.1-asr-flash",)),
    Inquiry(calls.qwen, (q.SHORT_ANSWER, q.SILENCE), 2, ("qwen3-asr-flash",)),
    Inquiry(calls.omni, (q.OMNI_USAGE,), 1, ("qwen3.5-omni-flash",)),
)


async def answered(account: Account, inquiry: Inquiry, region: str) -> tuple[Row, ...]:
    """The rows of one inquiry, one for each of its questions; raises nothing."""
    seen: dict[Question, Seen] = {}
    missing = f"not offered in {region}"
    if inquiry.is_offered(region):
        missing = "the call before it failed"
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await _gather(inquiry.ask(account), seen)
        except NoAnswer as error:
            missing = str(error)
        except TimeoutError:
            missing = f"not within {LONGEST_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  an answer that nobody thought of is a row, not a crash
            missing = f"unreadable: {type(error).__name__}"
    return tuple(_rows(inquiry, seen, missing))


async def _gather(answers: Answers, seen: dict[Question, Seen]) -> None:
    async for question, answer in answers:
        seen[question] = answer  # noqa: PERF403  what came before an error counts


def _rows(inquiry: Inquiry, seen: dict[Question, Seen], missing: str) -> Iterator[Row]:
    for question in inquiry.questions:
        answer = seen.get(question)
        if answer is None:
            yield Row(question, Seen(missing), ErrorPolicy.NONE)
        else:
            yield Row(question, answer, question.judge(answer))


def headers_row(account: Account) -> Row:
    """Which headers of all the answers speak of rates: to be asked when the others are through."""
    words = ("retry", "ratelimit", "rate-limit", "quota")
    names = sorted(name for name in account.provider.header_names if any(word in name for word in words))
    seen = Seen(", ".join(names) or "none") if account.provider.header_names else Seen("no answer came")
    return Row(q.RATE_HEADERS, seen, q.RATE_HEADERS.judge(seen))
