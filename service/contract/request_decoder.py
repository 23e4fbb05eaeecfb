"""Decodes request records: bytes and headers in, a checked request or one clear refusal out.

Raises only InvalidRecord, never reads the clock and keeps no state.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import JsonValue, ValidationError
from pydantic_core import to_json

from service.contract import format_detection, strict_json
from service.contract.options import read_options
from service.contract.redaction import without_query
from service.contract.request import MAX_METADATA_BYTES, MAX_REPLAY, Action, Request
from service.contract.validation_errors import explain
from service.errors import FailureCode, InvalidRecord
from service.frozen import dataclass

REQUEST_TYPE = "scribe.transcription.request.v1"
MAX_RECORD_BYTES = 512 * 1024
"""100 files with URLs of 4 KB, options and metadata; half of a topic's usual limit."""
MAX_RAW_BYTES = 256 * 1024
"""What a failure keeps of an unreadable record: in base64 it fits a record of 1 MB."""

_MAX_SALVAGE_BYTES = 2 * 1024 * 1024
"""A longer record is not searched for its request_id: parsing it would block the loop."""

_FRAME_BYTES = 5
"""A schema-registry serializer puts 0x00, which never begins JSON, and a 4-byte schema id before the JSON."""

_UNREADABLE = frozenset({FailureCode.INVALID_ENCODING, FailureCode.INVALID_JSON})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
_MODEL = re.compile(r"[A-Za-z0-9._:-]{1,200}")
_OUR_TYPE = re.compile(r"scribe\.transcription\.request\.v[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The operator's limits on requests; None allows all.

    A host is allowed if it equals an entry or is below one
    (`example.org` allows `media.example.org`, not `badexample.org`).
    """

    allowed_hosts: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A valid request; `framed` says that a schema-registry prefix was skipped."""

    request: Request
    framed: bool
    digest: str


class RawFields(NamedTuple):
    """What a failure keeps of a record's bytes.

    Base64 of the beginning, and length and hex SHA-256 of the whole.
    """

    raw: str | None
    raw_bytes: int | None
    raw_sha256: str | None


def read_request(
    value: bytes | None, headers: Sequence[tuple[str, bytes | None]], limits: RequestLimits
) -> DecodedRequest:
    """The request in a record, with canonical options.

    Raises InvalidRecord with one of the decode codes, and with the record's id, replay, model and metadata
    if they can be read.
    """
    try:
        return _read(value, headers, limits)
    except InvalidRecord as error:
        if error.code in _UNREADABLE:
            raise
        raise _with_claims(error, value) from error


def digest(request: Request) -> str:
    """32 hex digits, equal for requests of the same work.

    BLAKE2b-128 over the JSON array [model, canonical options, URLs without query and fragment, the output
    formats if there are any, {"file_indexes": in their order} if not all files are wanted], keys sorted, no
    blanks, ASCII. Metadata, deadlines and a URL's signature do not count. Formats and files do: a duplicate
    with others would never get its outcomes. Journals hold digests: the recipe must not change between
    versions.
    """
    work: list[JsonValue] = [request.model, request.options]
    work.append([without_query(url) for url in request.file_urls])
    if request.formats:
        work.append([*request.formats])
    indexes = sorted(request.file_indexes or ())
    if indexes and len(indexes) < len(request.file_urls):
        work.append({"file_indexes": [*indexes]})
    canonical = json.dumps(work, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=16).hexdigest()


def raw_failure_fields(value: bytes | None) -> RawFields:
    """The raw fields of a failure record; all None for a null value."""
    if value is None:
        return RawFields(None, None, None)
    beginning = base64.b64encode(value[:MAX_RAW_BYTES]).decode("ascii")
    return RawFields(beginning, len(value), hashlib.sha256(value).hexdigest())


def _read(
    value: bytes | None, headers: Sequence[tuple[str, bytes | None]], limits: RequestLimits
) -> DecodedRequest:
    _check_type(headers)
    document, framed = _document(value, MAX_RECORD_BYTES)
    request = _request(document)
    if request.action is Action.TRANSCRIBE:
        _check_allowed(request, limits)
        request = request.model_copy(update={"options": read_options(request.model, request.options)})
    return DecodedRequest(request, framed, digest(request))


def _with_claims(error: InvalidRecord, value: bytes | None) -> InvalidRecord:
    """The refusal, with those fields of the record that are valid."""
    try:
        document, _ = _document(value, _MAX_SALVAGE_BYTES)
    except InvalidRecord:
        return error
    fields = document if isinstance(document, dict) else {}
    request_id, replay, model = fields.get("request_id"), fields.get("replay"), fields.get("model")
    return InvalidRecord(
        error.code,
        error.message,
        request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else None,
        replay=replay if type(replay) is int and 0 <= replay <= MAX_REPLAY else None,
        model=model if isinstance(model, str) and _MODEL.fullmatch(model) else None,
        metadata=_claimed_metadata(fields.get("metadata")),
    )


def _claimed_metadata(metadata: JsonValue) -> dict[str, JsonValue] | None:
    if not isinstance(metadata, dict) or len(to_json(metadata)) > MAX_METADATA_BYTES:
        return None
    return metadata or None


def _check_type(headers: Sequence[tuple[str, bytes | None]]) -> None:
    given = next((value for name, value in headers if name == "ce_type"), None)
    if given is None or given == REQUEST_TYPE.encode():
        return
    try:
        name = given.decode()
    except UnicodeDecodeError as error:
        raise InvalidRecord(FailureCode.INVALID_REQUEST, "the header `ce_type` is not UTF-8") from error
    what = name if _OUR_TYPE.fullmatch(name) else "another type"
    message = f"the header `ce_type` names {what}; this service reads {REQUEST_TYPE}"
    raise InvalidRecord(FailureCode.UNSUPPORTED_VERSION, message)


def _document(value: bytes | None, limit_bytes: int) -> tuple[JsonValue, bool]:
    if value is None:
        raise InvalidRecord(FailureCode.INVALID_REQUEST, "the record has no value (null)")
    if len(value) > limit_bytes:
        message = f"the record has {len(value)} bytes; at most {limit_bytes} are allowed"
        raise InvalidRecord(FailureCode.REQUEST_TOO_LARGE, message)
    framed = value.startswith(b"\x00")
    try:
        text = value[_FRAME_BYTES if framed else 0 :].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"the value is not UTF-8 (byte {error.start + (_FRAME_BYTES if framed else 0)})"
        raise InvalidRecord(FailureCode.INVALID_ENCODING, where + _note(value)) from error
    if not text or text.isspace():
        empty = "the value is empty" if not value else "the value holds nothing"
        raise InvalidRecord(FailureCode.INVALID_JSON, empty + (_note(value) if framed else ""))
    try:
        return strict_json.loads(text), framed
    except InvalidRecord as error:
        if format_detection.wide_encoding(value):
            message = "the value is not UTF-8" + _note(value)
            raise InvalidRecord(FailureCode.INVALID_ENCODING, message) from error
        raise InvalidRecord(error.code, error.message + _note(value)) from error


def _note(value: bytes) -> str:
    """The likely format of the value, or of its part after a schema-registry prefix."""
    framed = value.startswith(b"\x00") and not format_detection.wide_encoding(value)
    kind = format_detection.detect_format(value[_FRAME_BYTES:] if framed else value)
    seems = f"; it looks like {kind}" if kind else ""
    if not framed:
        return seems
    note = "; it has a schema-registry prefix, and only JSON is read behind one, not Avro or Protobuf"
    return seems + note


def _request(document: JsonValue) -> Request:
    if not isinstance(document, dict):
        raise InvalidRecord(FailureCode.INVALID_REQUEST, "a request must be a JSON object")
    # Many serializers write absent fields as null.
    given = {name: value for name, value in document.items() if value is not None}
    try:
        return Request.model_validate(given)
    except ValidationError as error:
        raise InvalidRecord(FailureCode.INVALID_REQUEST, explain(error)) from error


def _check_allowed(request: Request, limits: RequestLimits) -> None:
    if limits.allowed_models is not None and request.model not in limits.allowed_models:
        raise InvalidRecord(FailureCode.NOT_ALLOWED, "this service's settings do not allow this `model`")
    if limits.allowed_hosts is None:
        return
    for index, url in enumerate(request.file_urls):
        if not _is_allowed_host(urlsplit(url).hostname or "", limits.allowed_hosts):
            message = f"this service's settings do not allow the host of `file_urls[{index}]`"
            raise InvalidRecord(FailureCode.NOT_ALLOWED, message)


def _is_allowed_host(host: str, allowed: frozenset[str]) -> bool:
    labels = host.lower().rstrip(".").split(".")
    return any(".".join(labels[start:]) in allowed for start in range(len(labels)))
