"""Hostile answers of the provider: how each is harmed, how often, and what must come of its file."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from pydantic import JsonValue

from tests.hostile.values import (
    NO_JSON_NUMBERS,
    NO_TEXTS,
    NUMBERS,
    TEXTS,
    Path,
    deep,
    garbage,
    paths_of,
    replaced,
)

RESULT = "result"
ALWAYS = 10**9
TTL_SECONDS = 3_600
SHARED = 40
"""Answers that are about many files are harmed at the beginning only: one void page makes a reading void."""
_CASE = re.compile(rb"case=(\d+)x")


@dataclass
class HttpAnswer:
    """An answer of the simulator on its way to the service."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def document(self) -> JsonValue:
        """The body's JSON."""
        parsed: JsonValue = json.loads(self.body)
        return parsed


Harm = Callable[[Random, HttpAnswer], None]


@dataclass(frozen=True)
class Rule:
    """One way to harm the answers of one source; `times` of them for a file."""

    name: str
    source: str
    harm: Harm
    expected: frozenset[str]
    times: int = ALWAYS
    keeps_text: bool = True
    """Whether what was said must be in the result, word for word."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass
class HostileAnswer:
    """A file of its own whose answers are harmed."""

    number: int
    rule: Rule
    seed: str
    left: int

    @property
    def request_id(self) -> str:
        """The request that asks for the file."""
        return f"answer-{self.number}"

    @property
    def text(self) -> str:
        """What is said in the file."""
        return f"Number {self.number}."

    def request(self) -> dict[str, object]:
        """The request for the file."""
        url = f"http://media.test/{self.number}.wav?case={self.number}x&run=0&text=Number+{self.number}.&duration=4"
        return {
            "request_id": self.request_id,
            "file_urls": [url],
            "model": MODELS[self.rule.source],
            "options": dict(self.rule.options),
            "ttl_seconds": TTL_SECONDS,
        }


MODELS = {
    **dict.fromkeys(("submit", "query", "result", "hotwords"), "fun-asr"),
    "call": "qwen3-asr-flash",
    "short": "fun-asr-flash-2026-06-15",
    "stream": "qwen3.5-omni-flash",
}
"""The model whose calls bring answers of each source."""
SOURCES = ("submit", "query", "result", "hotwords", "list", "call", "short", "stream")


@dataclass
class Answers:
    """Draws files whose answers are harmed; each has a number of its own, the first ones cover every rule."""

    rng: Random
    drawn: list[HostileAnswer] = field(default_factory=list)
    harmed: Counter[str] = field(default_factory=Counter)
    """How many answers of each source were harmed."""
    seen: Counter[str] = field(default_factory=Counter)
    """How many answers that are about many files there were."""

    def draw(self) -> HostileAnswer:
        """The next file."""
        number = len(self.drawn)
        weights = [1 if rule.source in ("submit", "hotwords") else 4 for rule in RULES]
        rule = RULES[number] if number < len(RULES) else self.rng.choices(RULES, weights)[0]
        self.drawn.append(HostileAnswer(number, rule, f"{self.rng.random()}", rule.times))
        return self.drawn[-1]

    def named_in(self, body: bytes) -> HostileAnswer | None:
        """The file that a request of the service names."""
        found = _CASE.search(body)
        return self.drawn[int(found[1])] if found else None

    def harm(self, case: HostileAnswer, answer: HttpAnswer) -> None:
        """Harm an answer that is about one file, if it is still one of those to be harmed."""
        if case.left > 0:
            case.left -= 1
            self.harmed[case.rule.source] += 1
            case.rule.harm(Random(f"{case.seed}:{case.left}"), answer)

    def harm_shared(self, source: str, answer: HttpAnswer) -> None:
        """Harm an answer that is about many files, each second one of the first `SHARED`."""
        self.seen[source] += 1
        if self.seen[source] <= SHARED and self.seen[source] % 2:
            self.harmed[source] += 1
            rng = Random(f"{source}:{self.seen[source]}")
            rng.choice(_SHARED_HARMS)(rng, answer)


# -- harms --

_ANY = (*NUMBERS, *TEXTS, *NO_TEXTS)
_ANY_TEXT = (*TEXTS, *NO_TEXTS)


def _put(values: tuple[str, ...], paths: Callable[[JsonValue], list[Path]]) -> Harm:
    def harm(rng: Random, answer: HttpAnswer) -> None:
        document = answer.document()
        found = paths(document)
        if found:
            answer.body = replaced(document, rng.choice(found), rng.choice(values))

    return harm


def _at(*path: str | int) -> Callable[[JsonValue], list[Path]]:
    return lambda _document: [path]


def _numbers(document: JsonValue) -> list[Path]:
    return paths_of(document, (int, float))


def _unknown(document: JsonValue) -> list[Path]:
    return [(*path, "x_unknown") for path in paths_of(document, (dict,))]


def _deep(rng: Random, answer: HttpAnswer) -> None:
    document = answer.document()
    answer.body = replaced(document, rng.choice(_unknown(document)), deep(rng))


def _garbage(rng: Random, answer: HttpAnswer) -> None:
    answer.body = garbage(rng, answer.body)


def _none(_rng: Random, _answer: HttpAnswer) -> None:
    """What is harmed is shared with other files."""


def _page(_rng: Random, answer: HttpAnswer) -> None:
    answer.status, answer.body = 502, b"<html><body>Bad gateway</body></html>"


def _refusal(rng: Random, answer: HttpAnswer) -> None:
    """A refusal with headers that nobody should believe."""
    answer.status = rng.choice((500, 503))
    answer.body = b'{"code":"ServiceUnavailable","message":' + rng.choice(TEXTS[:5]).encode() + b"}"
    answer.headers[b"retry-after"] = rng.choice((b"-1", b"1e400", b"NaN", b"9" * 400, b"", b"\xff", b"0.0"))
    answer.headers[b"retry-after-ms"] = rng.choice((b"-1", b"1e400", b"x", b"", b"0"))
    answer.headers[b"date"] = rng.choice(_DATES)


_DATES = (
    b"",
    b"x",
    b"Mon, 01 Jan 0001 00:00:00 GMT",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b"Mon, 99 Foo 2026",
    b"\xff",
)


def _odd_headers(rng: Random, answer: HttpAnswer) -> None:
    answer.headers[b"date"] = rng.choice(_DATES)
    answer.headers[b"content-type"] = rng.choice(
        (b"", b"text/html", b"x" * 2_000, b"application/json; charset=x")
    )
    answer.headers[b"x-padding"] = b"x" * rng.choice((1, 1_000, 7_000))


def _event_garbage(rng: Random, answer: HttpAnswer) -> None:
    """Lines that a reader of event streams skips."""
    events = answer.body.split(b"\n\n")
    noise = rng.choice(
        (b": a comment", b"retry: " + b"9" * 400, b"id: \xff", b"event: x_unknown", b"x_unknown")
    )
    events.insert(rng.randrange(len(events)), noise)
    answer.body = b"\n\n".join(events)


def _in_an_event(change: Callable[[Random, JsonValue], bytes]) -> Harm:
    """Harm one of the JSON events of a stream."""

    def harm(rng: Random, answer: HttpAnswer) -> None:
        events = answer.body.split(b"\n\n")
        readable = [at for at, event in enumerate(events) if event.startswith((b"data: {", b"data:{"))]
        at = rng.choice(readable)
        document: JsonValue = json.loads(events[at].partition(b":")[2])
        events[at] = b"data: " + change(rng, document)
        answer.body = b"\n\n".join(events)

    return harm


def _usage_of_an_event(rng: Random, document: JsonValue) -> bytes:
    given, said = rng.choice(NUMBERS), rng.choice(NUMBERS)
    return replaced(document, ("usage",), f'{{"prompt_tokens":{given},"completion_tokens":{said}}}')


def _unknown_in_an_event(rng: Random, document: JsonValue) -> bytes:
    return replaced(document, rng.choice(_unknown(document)), rng.choice((*NUMBERS, *NO_TEXTS)))


def _deep_in_an_event(rng: Random, document: JsonValue) -> bytes:
    return replaced(document, rng.choice(_unknown(document)), deep(rng))


# -- rules --

_PROMPT: Mapping[str, JsonValue] = {"prompt": "Write what is said."}
_WAV: Mapping[str, JsonValue] = {"format": "wav"}

_OK = frozenset({RESULT})
_UNREADABLE = frozenset({"result_unreadable"})
_TRANSCRIPT = ("transcripts", 0)
_SENTENCE = (*_TRANSCRIPT, "sentences", 0)
_NO_LIST = (*NO_TEXTS, '"x"', "[null]", "[[]]")
_NO_LISTS = ("null", "true", "0", "{}", '"text"')

RULES: tuple[Rule, ...] = (
    Rule("file: a number out of bounds", "result", _put(NUMBERS, _numbers), _OK),
    Rule("file: a number that is no JSON", "result", _put(NO_JSON_NUMBERS, _numbers), _OK | _UNREADABLE),
    Rule("file: an unknown field", "result", _put(_ANY, _unknown), _OK),
    Rule("file: an unknown field, deep", "result", _deep, _OK | _UNREADABLE),
    Rule(
        "file: a text of another kind",  # one that says more than the sentences is the fuller one
        "result",
        _put(_ANY_TEXT, _at(*_TRANSCRIPT, "text")),
        _OK,
        keeps_text=False,
    ),
    Rule(
        "file: a sentence's text of another kind",
        "result",
        _put(_ANY_TEXT, _at(*_SENTENCE, "text")),
        _OK,
        keeps_text=False,
    ),
    Rule(
        "file: sentences of another kind",
        "result",
        _put(_NO_LIST, _at(*_TRANSCRIPT, "sentences")),
        _OK,
    ),
    Rule(
        "file: words of another kind",
        "result",
        _put(_NO_LIST, _at(*_SENTENCE, "words")),
        _OK,
    ),
    Rule("file: transcripts of another kind", "result", _put(_NO_LISTS, _at("transcripts")), _UNREADABLE),
    Rule("file: properties of another kind", "result", _put((*NO_TEXTS, *NUMBERS), _at("properties")), _OK),
    Rule("file: garbage", "result", _garbage, _UNREADABLE),
    Rule("file: refused twice", "result", _refusal, _OK, times=2),
    Rule("file: odd headers", "result", _odd_headers, _OK),
    Rule("task: garbage twice", "query", _garbage, _OK, times=2),
    # For ever, it would end the job a quarter of an hour after its deadline: see the last poll.
    Rule("task: garbage six times", "query", _garbage, _OK, times=6),
    Rule("task: refused twice", "query", _refusal, _OK, times=2),
    Rule(
        "task: a status of another kind",
        "query",
        _put((*NO_TEXTS, '"x"', '"succeeded"'), _at("output", "task_status")),
        _OK,
        times=2,
    ),
    Rule("task: a number out of bounds", "query", _put(NUMBERS, _numbers), _OK),
    Rule("task: an unknown field", "query", _put(_ANY, _unknown), _OK),
    Rule("task: an unknown field, deep", "query", _deep, _OK, times=2),
    Rule(
        "task: a time of another kind",
        "query",
        _put(_ANY, _at("output", "end_time")),
        _OK,
    ),
    Rule("task: usage of another kind", "query", _put(_ANY, _at("usage")), _OK),
    Rule("task: odd headers", "query", _odd_headers, _OK),
    Rule("hotwords: any answer", "hotwords", _none, _OK, options={"hotwords": [{"text": "etcd"}]}),
    Rule("submit: an answer that is a gateway's", "submit", _page, _OK, times=1),
    Rule("submit: an answer that is garbage", "submit", _garbage, _OK, times=1),
    Rule("submit: an unknown field", "submit", _put(_ANY, _unknown), _OK),
    Rule("call: a number out of bounds", "call", _put(NUMBERS, _numbers), _OK),
    Rule("call: an unknown field", "call", _put(_ANY, _unknown), _OK),
    Rule("call: usage of another kind", "call", _put(_ANY, _at("usage")), _OK),
    Rule("call: garbage once", "call", _garbage, _OK, times=1),
    Rule("short: a number out of bounds", "short", _put(NUMBERS, _numbers), _OK, options=_WAV),
    Rule(
        "short: an unknown field",
        "short",
        _put(_ANY, _unknown),
        _OK,
        options=_WAV,
    ),
    Rule(
        "stream: usage out of bounds",
        "stream",
        _in_an_event(_usage_of_an_event),
        _OK,
        options=_PROMPT,
    ),
    Rule(
        "stream: an unknown field",
        "stream",
        _in_an_event(_unknown_in_an_event),
        _OK,
        options=_PROMPT,
    ),
    Rule(
        "stream: an unknown field, deep, once",
        "stream",
        _in_an_event(_deep_in_an_event),
        _OK,
        times=1,
        options=_PROMPT,
    ),
    Rule(
        "stream: lines between events",
        "stream",
        _event_garbage,
        _OK,
        options=_PROMPT,
    ),
)

_SHARED_HARMS: tuple[Harm, ...] = (
    _garbage,
    _page,
    _refusal,
    _odd_headers,
    _deep,
    _put((*NUMBERS, *NO_JSON_NUMBERS), _numbers),
    _put(_ANY, _unknown),
    _put(_ANY_TEXT, lambda document: paths_of(document, (str,))),
)
