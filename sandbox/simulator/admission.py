"""What every call has to pass before its endpoint looks at it: the key, the quota, a body that is JSON."""

import json
import re
from dataclasses import dataclass
from typing import Final

from sandbox.simulator.calls import Call
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.wire import ApiError

_BEARER: Final = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class ApiKey:
    """Whose key a call came with, and the key's number in list answers."""

    account: str
    number: str


def authorise(call: Call, config: SimulatorConfig) -> ApiKey:
    """The key's owner, who is noted in the ledger too; ApiError for no key or a wrong one."""
    given = _BEARER.fullmatch(call.request.headers.get("authorization", ""))
    account = config.api_keys.get(given[1]) if given else None
    if given is None or account is None:
        raise ApiError(401, "InvalidApiKey", "Invalid API-key provided.")
    call.entry.account = account
    return ApiKey(account, str(12_345 + list(config.api_keys).index(given[1])))


def admit(call: Call, state: SimulatorState, kind: str, model: str = "") -> None:
    """Count the call in its quota, or ApiError when that is used up."""
    if not state.quotas.admits(kind, call.entry.account or "", model, state.quota_now()):
        raise ApiError(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")


def read_json(body: bytes) -> dict[str, object]:
    """The body's JSON object, or ApiError."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "BadRequest.IllegalInput", "The input parameter requires json format.") from error
    if not isinstance(payload, dict):
        raise ApiError(400, "BadRequest.IllegalInput", "The input parameter requires json format.")
    return payload
