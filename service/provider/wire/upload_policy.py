"""The wire shape of the vendor's temporary store (docs/provider.md, section 10), as pure functions.

A file is stored in two calls: the API grants a policy for one model, then the object store takes a form. The
file's URL begins with `oss://`.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from urllib.parse import urlencode

from service.contract.redaction import redact
from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass
from service.provider.wire.answer_fields import (
    HttpAnswer,
    document_of,
    error_in,
    text,
)

MIB = 1024**2
MAX_NAME_CHARS = 100
_REQUIRED = ("policy", "signature", "upload_dir", "upload_host", "oss_access_key_id")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,500}")
"""It becomes a part of a URL."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_STORE_CODE = re.compile(rb"<Code>([A-Za-z.]{1,100})</Code>")
_STORE_MESSAGE = re.compile(rb"<Message>([^<]{1,1000})</Message>")


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """Leave to store files in one folder for a few minutes."""

    host: str
    """The URL of the object store; not to be trusted."""
    folder: str
    fields: Mapping[str, str]
    """The fields of the form but the object's name and the file."""
    max_bytes: int | None = None

    def file_url(self, name: str) -> str:
        """The URL of a stored object, by which a task of the same account and model may read it."""
        return f"oss://{self.folder}/{name}"


def policy_path(model: str) -> str:
    """Where a policy is asked for."""
    return f"/uploads?{urlencode({'action': 'getPolicy', 'model': model})}"


def read_policy(answer: HttpAnswer, host: str) -> UploadPolicy | ProviderError:
    """The policy in an answer."""
    document = document_of(answer, host)
    if isinstance(document, ProviderError):
        return document
    data = document.get("data")
    given = data if isinstance(data, dict) else {}
    found = {name: text(given, name) or "" for name in _REQUIRED}
    acl = text(given, "x_oss_object_acl") or "private"
    forbids_overwrite = text(given, "x_oss_forbid_overwrite") or "true"
    values = (*found.values(), acl, forbids_overwrite)
    is_whole = all(value and value.isascii() and value.isprintable() for value in values)
    if not is_whole or not _FOLDER.fullmatch(found["upload_dir"].rstrip("/")):
        words = f"{host} grants no upload: its answer lacks a part of the policy"
        return error_in(document) or ProviderError(OwnCode.UNEXPECTED_ANSWER, words, answer.http_status)
    fields = {
        "OSSAccessKeyId": found["oss_access_key_id"],
        "Signature": found["signature"],
        "policy": found["policy"],
        "x-oss-object-acl": acl,
        "x-oss-forbid-overwrite": forbids_overwrite,
        "success_action_status": "200",
    }
    most = given.get("max_file_size_mb")
    max_bytes = MIB * most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None
    store = found["upload_host"]
    # The vendor names a host, without the path that a URL has.
    place = store if "/" in store.partition("://")[2] else f"{store}/"
    return UploadPolicy(place, found["upload_dir"].rstrip("/"), fields, max_bytes)


def object_name(path: PurePath) -> str:
    """A name for the object that needs no escapes in a URL; it keeps the file's suffix."""
    suffix = _NOT_IN_A_NAME.sub("", path.suffix)[:10]
    stem = _NOT_IN_A_NAME.sub("_", path.stem)[: MAX_NAME_CHARS - len(suffix)].strip("._-")
    return f"{stem or 'audio'}{suffix}"


def form_around(policy: UploadPolicy, name: str, boundary: str) -> tuple[bytes, bytes]:
    """What stands before and after the file in the form; the store reads nothing behind the file."""
    fields = {**policy.fields, "key": f"{policy.folder}/{name}"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    parts.append(f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n")
    return "".join(parts).encode("ascii"), f"\r\n--{boundary}--\r\n".encode("ascii")


def read_stored(answer: HttpAnswer, host: str) -> ProviderError | None:
    """Why the store did not take the file; None if it did. It answers in XML."""
    if answer.is_success:
        return None
    code, message = _STORE_CODE.search(answer.body), _STORE_MESSAGE.search(answer.body)
    words = message[1].decode("utf-8", "replace") if message else f"{host} answered {answer.http_status}"
    name = code[1].decode("ascii") if code else OwnCode.HTTP_ERROR
    return ProviderError(name, redact(words), answer.http_status, host=host)
