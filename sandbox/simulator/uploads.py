"""Temporary storage of local files: the policy that lets one upload, the object store that takes the form,
and who may read the file under `oss://`. It knows no HTTP but the store's answers.
"""

import base64
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sandbox.simulator.clock import SimulatedClock
from sandbox.simulator.config import MIB, SimulatorConfig
from sandbox.simulator.signing import ACCESS_KEY_ID, signature_of
from sandbox.simulator.tasks import TaskFile
from sandbox.simulator.wire import JsonObject, Reply, store_error

POLICY_SECONDS: Final = 300
KEPT_SECONDS: Final = 48 * 3_600.0
SCHEME: Final = "oss://"


@dataclass(frozen=True)
class Grant:
    """Leave to upload below one folder, for one account and one model, until a moment."""

    account: str
    model: str
    folder: str
    policy: str
    expires_at: float


@dataclass(frozen=True)
class StoredObject:
    """A file that was uploaded; only tasks of its account and its model can read it."""

    grant: Grant
    content: bytes
    stored_at: float


class UploadStore:
    """The grants and the objects of all accounts; an object is gone after 48 hours."""

    def __init__(self, config: SimulatorConfig, clock: SimulatedClock, origin: str) -> None:
        self._config = config
        self._clock = clock
        self._host = f"{origin}/uploads"
        self._secret = secrets.token_bytes(32)
        self._grants: dict[str, Grant] = {}
        self._objects: dict[str, StoredObject] = {}

    def grant(self, account: str, model: str) -> JsonObject:
        """What `getPolicy` answers under `data`."""
        folder = f"dashscope-instant/{uuid.uuid4().hex}/{uuid.uuid4()}"
        expires_at = self._clock.now() + POLICY_SECONDS
        terms = {
            "expiration": datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conditions": [
                ["content-length-range", 0, self._config.upload_limit_bytes],
                ["starts-with", "$key", folder],
            ],
        }
        policy = base64.b64encode(json.dumps(terms).encode()).decode()
        self._grants[policy] = Grant(account, model, folder, policy, expires_at)
        return {
            "policy": policy,
            "signature": signature_of(policy, self._secret),
            "upload_dir": folder,
            "upload_host": self._host,
            "expire_in_seconds": POLICY_SECONDS,
            "max_file_size_mb": self._config.upload_limit_bytes // MIB,
            "capacity_limit_mb": 999_999_999,
            "oss_access_key_id": ACCESS_KEY_ID,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }

    def take(self, fields: Mapping[str, str], content: bytes | None) -> Reply:
        """Store what a form brings, or answer as the object store does: in XML."""
        grant = self._grants.get(fields.get("policy", ""))
        signature = signature_of(fields.get("policy", ""), self._secret)
        if grant is None or not hmac.compare_digest(signature.encode(), fields.get("Signature", "").encode()):
            return store_error(403, "SignatureDoesNotMatch", "The signature we calculated does not match.")
        if self._clock.now() >= grant.expires_at:
            return store_error(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
        key = fields.get("key", "")
        if not key.startswith(f"{grant.folder}/") or key == f"{grant.folder}/":
            return store_error(403, "AccessDenied", "Invalid according to Policy: Policy Condition failed.")
        if content is None:
            return store_error(400, "IncorrectNumberOfFilesInPOSTRequest", "POST requires exactly one file.")
        if len(content) > self._config.upload_limit_bytes:
            return store_error(
                400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size."
            )
        if key in self._objects:
            return store_error(409, "FileAlreadyExists", "The object you specified already exists.")
        self._objects[key] = StoredObject(grant, content, self._clock.now())
        status = fields.get("success_action_status", "204")
        return Reply(int(status) if status in ("200", "201") else 204, b"", "application/xml")

    def attach(self, file: TaskFile, account: str, model: str) -> None:
        """Give a file under `oss://` its content, or the code of why it has none; others stay as they are."""
        if file.file_url.startswith(SCHEME):
            found = self.read(account, model, file.file_url)
            file.content, file.lost = (found, None) if isinstance(found, bytes) else (None, found)

    def read(self, account: str, model: str, url: str) -> bytes | str:
        """What is stored under an `oss://` URL, or the subtask code of a file that cannot be read.

        A query does not belong to the name of the object: the script of a scripted file is in it.
        """
        found = self._objects.get(url.removeprefix(SCHEME).partition("?")[0])
        if found is None or self._clock.now() >= found.stored_at + KEPT_SECONDS:
            return "FILE_404_NOT_FOUND"
        if (found.grant.account, found.grant.model) != (account, model):
            return "FILE_403_FORBIDDEN"
        return found.content
