"""The wire shape of hotword lists (docs/provider.md, section 9): one endpoint, five actions."""

import json
from collections.abc import Sequence

from pydantic import JsonValue

from service.contract import untrusted_json
from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import (
    HotwordList,
    HotwordListEntry,
    HotwordListPage,
    ListedHotwordList,
)
from service.core.provider.own_codes import OwnCode
from service.provider.wire.answer_fields import (
    HttpAnswer,
    document_of,
    error_in,
    object_of,
    part,
    text,
)

PATH = "/services/audio/asr/customization"
PAGE_SIZE = 10
"""The vendor's default; an account has ten lists unless the vendor granted more."""
_READY = "OK"


def body(action: str, **fields: JsonValue) -> bytes:
    """The JSON of one action."""
    document = {"model": "speech-biasing", "input": {"action": action, **fields}}
    return json.dumps(document, separators=(",", ":")).encode()


def words_on_wire(words: Sequence[HotwordListEntry]) -> list[JsonValue]:
    """Words in the vendor's form; a language is sent only if it was given."""
    return [
        {"text": word.text, "weight": word.weight, **({"lang": word.language} if word.language else {})}
        for word in words
    ]


def read_done(answer: HttpAnswer, host: str) -> ProviderError | None:
    """The error of an action, None if it was done."""
    document = document_of(answer, host)
    return document if isinstance(document, ProviderError) else error_in(document)


def read_created(answer: HttpAnswer, host: str) -> str | ProviderError:
    """The id of a new list."""
    provider_error = read_done(answer, host)
    made = text(part(object_of(answer.body) or {}, "output"), "vocabulary_id")
    return (
        provider_error or made or ProviderError(OwnCode.UNEXPECTED_ANSWER, "the answer names no hotword list")
    )


def read_page(answer: HttpAnswer, host: str) -> HotwordListPage | ProviderError:
    """One page of the account's lists."""
    provider_error = read_done(answer, host)
    rows = part(object_of(answer.body) or {}, "output").get("vocabulary_list")
    if provider_error is not None:
        return provider_error
    if not isinstance(rows, list):
        return ProviderError(OwnCode.UNEXPECTED_ANSWER, "the answer has no list of hotword lists")
    lists = tuple(
        ListedHotwordList(named, text(row, "gmt_create") or "", text(row, "gmt_modified") or "")
        for row in rows
        if isinstance(row, dict) and (named := text(row, "vocabulary_id"))
    )
    return HotwordListPage(lists, is_last=len(rows) < PAGE_SIZE)


def read_hotword_list(answer: HttpAnswer, vocabulary_id: str, host: str) -> HotwordList | ProviderError:
    """One list, with its words."""
    provider_error = read_done(answer, host)
    if provider_error is not None:
        return provider_error
    output = part(object_of(answer.body) or {}, "output")
    rows = output.get("vocabulary")
    words = tuple(
        HotwordListEntry(named, untrusted_json.token_count(row.get("weight")) or 0, text(row, "lang"))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and (named := text(row, "text"))
    )
    is_ready = text(output, "status") == _READY
    return HotwordList(vocabulary_id, text(output, "target_model"), is_ready, words)
