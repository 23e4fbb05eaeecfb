"""Reads what any vendor answer has in common: a bounded JSON object, an error's code, a wish for delay.

Decides nothing about a job and never raises on odd input.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pydantic import JsonValue

from service.contract.scrub import scrub
from service.core.task import Lost, Refused, Trouble

TIMEOUT_CODES = frozenset({"RequestTimeOut", "ResponseTimeout", "InternalError.Timeout"})
"""Codes by which the vendor says that it gave up waiting for itself: the work may be done, and billed."""
MAX_RETRY_AFTER_SECONDS = 300.0
"""A longer wish is cut: none is documented, and a wrong header must not stop the service for hours."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,99}")
_MAX_COUNT = 10**9
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end; header names are in lower case."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status says that the call was served."""
        return 200 <= self.http_status < 300


def object_of(body: bytes) -> dict[str, JsonValue] | None:
    """The JSON object in `body`, None if it is anything else; invalid UTF-8 is replaced."""
    try:
        document = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def part(document: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    """The object under `name`, empty where there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def text(document: Mapping[str, JsonValue], name: str) -> str | None:
    """The non-empty string under `name`, encodable as UTF-8."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        return None
    return _SURROGATES.sub("\ufffd", value)


def code_of(document: Mapping[str, JsonValue]) -> str | None:
    """The vendor's error code, where the object has one that looks like a code and not like prose.

    An OpenAI-shaped error may have a type alone.
    """
    error = part(document, "error")
    code = text(document, "code") or text(error, "code") or text(error, "type")
    return code if code and _CODE.fullmatch(code) else None


def message_of(document: Mapping[str, JsonValue]) -> str:
    """The vendor's message, not yet scrubbed; some gateways say `msg` (provider API, section 0.3)."""
    native = text(document, "message") or text(document, "msg")
    return native or text(part(document, "error"), "message") or ""


def error_in(document: Mapping[str, JsonValue]) -> Trouble | None:
    """The error that an object of a 200 carries: a failed file, a failed task, or the whole answer."""
    code = code_of(document)
    return Trouble(code, scrub(message_of(document) or code)) if code else None


def trouble_of(answer: Answer, host: str) -> Trouble:
    """The trouble in an answer that did not serve the call; `http_error` where the vendor names no code."""
    document = object_of(answer.body) or {}
    code = code_of(document) or "http_error"
    message = message_of(document) or f"{host} answered {answer.http_status} without a message"
    if answer.http_status == 401:
        # Keys belong to one region, and the vendor says the same for a wrong key and a wrong region.
        message = f"key not valid for host {host}: {message}"
    return Trouble(code, scrub(message), answer.http_status, retry_after_seconds(answer.headers))


def not_served(answer: Answer, host: str) -> Refused | Lost:
    """What a submit that was not served came to.

    Refused needs the word of the API itself, or a 3xx or 4xx of whoever stands before it. Anything that
    could have been said after the work was taken on - a gateway's time-out, a 5xx page - is Lost.
    """
    trouble = trouble_of(answer, host)
    if trouble.code in TIMEOUT_CODES or answer.http_status in (408, 504):
        return Lost(trouble)
    if answer.http_status >= 500 and trouble.code == "http_error":
        return Lost(trouble)
    return Refused(trouble)


def not_as_said(answer: Answer, host: str) -> Refused | Lost:
    """What a submit came to that was served, by its status, and whose body is not what it should be."""
    if object_of(answer.body) is None:
        return Lost(Trouble("not_json", "the answer to the submit is not a JSON object", answer.http_status))
    business = trouble_of(answer, host)
    if business.code == "http_error":
        return Lost(
            Trouble("unexpected_answer", "the submit's answer says nothing of use", answer.http_status)
        )
    return Lost(business) if business.code in TIMEOUT_CODES else Refused(business)


def number_in(document: Mapping[str, JsonValue], name: str) -> int | None:
    """The whole number under `name`, fractions rounded up; None for what is none, or absurd."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value <= _MAX_COUNT else None


def first_number(holders: Iterable[Mapping[str, JsonValue]], *names: str) -> int | None:
    """The first whole number that one of the objects has under one of the names."""
    found = (number_in(holder, name) for holder in holders for name in names)
    return next((number for number in found if number is not None), None)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The delay that the answer asks for, 0 to 300 s; `retry-after-ms` counts before `retry-after`.

    A date counts from the answer's own `Date`, so that our clock does not matter. Neither header is
    documented; the vendor's SDK v2 honours both.
    """
    asked = _number(headers.get("retry-after-ms"))
    seconds = asked / 1000 if asked is not None else _number(headers.get("retry-after"))
    if seconds is None:
        seconds = _seconds_between(headers.get("date"), headers.get("retry-after"))
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value, re.ASCII) else None


def _seconds_between(start: str | None, end: str | None) -> float | None:
    try:
        return (parsedate_to_datetime(end or "") - parsedate_to_datetime(start or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
