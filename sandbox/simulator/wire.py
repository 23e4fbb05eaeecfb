"""The vendor's answer shapes that every endpoint shares: success and error JSON, and the object store's
XML. It decides no status of its own.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

JsonObject = Mapping[str, object]
JSON_TYPE = "application/json; charset=utf-8"
XML_TYPE = "application/xml"


@dataclass(frozen=True)
class Reply:
    """A whole answer, before any fault touches it. `task_id` is for the ledger.

    `events` are the pieces of a body that is sent as a stream; of others there are none.
    """

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    task_id: str | None = None
    events: tuple[bytes, ...] = ()


class ApiError(Exception):
    """A refusal with the vendor's status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


def invalid(message: str) -> ApiError:
    """The 400 that most bad bodies get."""
    return ApiError(400, "InvalidParameter", message)


def json_reply(content: JsonObject, *, status: int = 200, task_id: str | None = None) -> Reply:
    """`content` behind a fresh `request_id`, which the `x-request-id` header repeats."""
    request_id = str(uuid.uuid4())
    body = encode({"request_id": request_id, **content})
    return Reply(status, body, headers={"x-request-id": request_id}, task_id=task_id)


def error_reply(error: ApiError, headers: Mapping[str, str] | None = None) -> Reply:
    """The native error body: code, message, request_id."""
    reply = json_reply({"code": error.code, "message": error.message}, status=error.status)
    return Reply(reply.status, reply.body, headers={**reply.headers, **(headers or {})})


def store_error(status: int, code: str, message: str) -> Reply:
    """The object store's error document, which is XML, unlike the API's."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n"
        f"  <RequestId>{uuid.uuid4().hex[:24].upper()}</RequestId>\n</Error>\n"
    )
    return Reply(status, body.encode(), XML_TYPE)


def encode(content: JsonObject) -> bytes:
    """UTF-8 JSON; what UTF-8 cannot hold (a lone surrogate) becomes a question mark."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
