"""Reads the common parts of vendor answers: a bounded JSON object, an error's code, a requested delay.

Decides nothing about a job and never raises on malformed input.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.redaction import redact
from service.core.provider.answers import Lost, ProviderError, Refused
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass

TIMEOUT_CODES = frozenset({"RequestTimeOut", "ResponseTimeout", "InternalError.Timeout"})
"""Codes for a timeout inside the vendor: the work may be done, and billed."""
SOURCE_CODES = frozenset({"GatewayTimeout.InputDownload"})
"""Codes for a gateway's timeout on the file's own host: no work was started."""
MAX_RETRY_AFTER_SECONDS = 300.0
"""A longer delay is ignored: no page documents one, and a wrong header must not stop us for hours."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,99}")
_YEARS = range(2020, 2100)
"""A `Date` of another year is not believed."""
_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")
_BASE_URL = "SCRIBE_PROVIDER__BASE_URL"
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One complete HTTP answer; header names are in lower case."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.http_status < 300


def object_of(body: bytes) -> dict[str, JsonValue] | None:
    """The JSON object in `body`, None if it is anything else.

    Invalid UTF-8 is replaced.
    """
    try:
        document = untrusted_json.parse_json(body.decode("utf-8", "replace"))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def part(document: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    """The object under `name`, empty if there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def text(document: Mapping[str, JsonValue], name: str) -> str | None:
    """The non-empty string under `name`, encodable as UTF-8."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        return None
    return _SURROGATES.sub("\ufffd", value)


def code_of(document: Mapping[str, JsonValue]) -> str | None:
    """The vendor's error code, if the object has one that looks like a code and not like prose.

    An error of OpenAI's shape may have only a type.
    """
    error = part(document, "error")
    code = text(document, "code") or text(error, "code") or text(error, "type")
    return code if code and _CODE.fullmatch(code) else None


def message_of(document: Mapping[str, JsonValue]) -> str:
    """The vendor's message, not yet redacted.

    Some gateways call it `msg` (docs/provider.md, section 0.3).
    """
    native = text(document, "message") or text(document, "msg")
    return native or text(part(document, "error"), "message") or ""


def error_in(document: Mapping[str, JsonValue]) -> ProviderError | None:
    """The error in an object of a 200 answer: a failed file, a failed task, or the whole answer."""
    code = code_of(document)
    return ProviderError(code, redact(message_of(document) or code)) if code else None


def error_of_answer(answer: HttpAnswer, host: str) -> ProviderError:
    """The error of an unsuccessful answer; `http_error` if the vendor gives no code."""
    document = object_of(answer.body) or {}
    code = code_of(document) or OwnCode.HTTP_ERROR
    message = message_of(document) or f"{host} answered {answer.http_status} {_without_message(answer)}"
    if answer.http_status == 401:
        # Keys belong to one region, and the vendor answers a wrong key and a wrong region alike.
        message = f"key not valid for host {host}: {message}"
    after_seconds = retry_after_seconds(answer.headers)
    return ProviderError(code, redact(message), answer.http_status, after_seconds, host=host)


def _without_message(answer: HttpAnswer) -> str:
    """The end of the message for an error without the vendor's own.

    A wrong path is its usual reason.
    """
    reason = "without a message"
    if 300 <= answer.http_status < 400:
        return f"{reason}: a redirect, which is not followed; look at {_BASE_URL}"
    if answer.http_status in (404, 405):
        return f"{reason}: there is no such path; look at {_BASE_URL}"
    return f"{reason}, with {shape_of(answer)}" if shape_of(answer) == "a web page" else reason


def shape_of(answer: HttpAnswer) -> str:
    """Name a body that is no JSON object: empty, a web page, its media type, or unknown."""
    if not answer.body.strip():
        return "an empty body"
    media_type = _MEDIA_TYPE.match(answer.headers.get("content-type", "").lower())
    if answer.body.lstrip()[:1] == b"<" or (media_type and media_type[0] == "text/html"):
        return "a web page"
    return media_type[0] if media_type else "a body of no known type"


def not_json(answer: HttpAnswer, host: str) -> ProviderError:
    """The error of a successful answer whose body is no JSON object."""
    words = (
        f"{host} answered {answer.http_status} with {shape_of(answer)} that is no JSON object;"
        f" is {_BASE_URL} right?"
    )
    return ProviderError(OwnCode.NOT_JSON, words, answer.http_status, host=host)


def document_of(answer: HttpAnswer, host: str) -> dict[str, JsonValue] | ProviderError:
    """The object of a successful answer; else what the answer tells."""
    if not answer.is_success:
        return error_of_answer(answer, host)
    document = object_of(answer.body)
    return not_json(answer, host) if document is None else document


def not_served(answer: HttpAnswer, host: str) -> Refused | Lost:
    """The result of a submit with an unsuccessful answer.

    Refused needs an error of the API itself, or a 3xx or 4xx of a gateway before it. An answer that may
    follow an accepted submit - a gateway's timeout, a 5xx page - is Lost.
    """
    provider_error = error_of_answer(answer, host)
    if _is_of_source(provider_error.code):
        return Refused(provider_error)
    if provider_error.code in TIMEOUT_CODES or answer.http_status in (408, 504):
        return Lost(provider_error)
    if answer.http_status >= 500 and provider_error.code == OwnCode.HTTP_ERROR:
        return Lost(provider_error)
    return Refused(provider_error)


def _is_of_source(code: str) -> bool:
    return any(code == known or code.startswith(known + ".") for known in SOURCE_CODES)


def unexpected_body(answer: HttpAnswer, host: str) -> Refused | Lost:
    """The result of a submit with a successful status and an unexpected body."""
    if object_of(answer.body) is None:
        return Lost(not_json(answer, host))
    business = error_of_answer(answer, host)
    if business.code == OwnCode.HTTP_ERROR:
        words = f"the answer of {host} to the submit has neither a task nor an error"
        return Lost(ProviderError(OwnCode.UNEXPECTED_ANSWER, words, answer.http_status))
    return Lost(business) if business.code in TIMEOUT_CODES else Refused(business)


def first_number(
    read: Callable[[JsonValue], int | None], holders: Iterable[Mapping[str, JsonValue]], *names: str
) -> int | None:
    """The first value in one of the objects, under one of the names, that `read` accepts."""
    found = (read(holder.get(name)) for holder in holders for name in names)
    return next((number for number in found if number is not None), None)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The delay that the answer requests, None unless it is 0 to 300 s.

    `retry-after-ms` has precedence.

    A date counts from the answer's own `Date`, so that our clock does not matter. Neither header is
    documented; the vendor's SDK v2 honours both.
    """
    asked = _number(headers.get("retry-after-ms"))
    seconds = asked / 1000 if asked is not None else _number(headers.get("retry-after"))
    if seconds is None:
        seconds = _seconds_between(headers.get("date"), headers.get("retry-after"))
    return seconds if seconds is not None and 0 <= seconds <= MAX_RETRY_AFTER_SECONDS else None


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value, re.ASCII) else None


@lru_cache(maxsize=8)
def http_date(value: str | None) -> float | None:
    """A date header in seconds since 1970; None for an invalid date or a year out of range.

    All answers of a second have the same.
    """
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.timestamp() if moment.tzinfo and moment.year in _YEARS else None
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds_between(start: str | None, end: str | None) -> float | None:
    begin_seconds, end_seconds = http_date(start), http_date(end)
    return None if begin_seconds is None or end_seconds is None else end_seconds - begin_seconds
