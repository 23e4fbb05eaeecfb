"""What an act does to the provider for a while: one rule of the simulator after the other, then none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sandbox.simulator import Fault
from tests.chaos.load import MODEL, SYNC_MODEL

CALLS: Final = ("submit", "transcribe", "query", "list", "cancel", "hotwords")
"""Every call that needs the account's key."""
REFUSED: Final = "Throttling.RateQuota"
ARREARS: Final = "Arrearage"
KEY: Final = "InvalidApiKey"
OF_ONE_MODEL: Final = "AllocationQuota.FreeTierOnly"
UNKNOWN_ANSWERS = 2
LOST_ANSWERS = 2


def faults_of(name: str, step: int) -> Sequence[Fault]:
    """The rules of an act; its step picks between two forms of the same."""
    return _FAULTS[name][step % len(_FAULTS[name])]()


def _errors() -> Sequence[Fault]:
    return [_status(call, 503, "ServiceUnavailable") for call in (*CALLS, "result")]


def _throttle() -> Sequence[Fault]:
    return [_status(call, 429, REFUSED, retry_after=1) for call in CALLS]


def _dead_key() -> Sequence[Fault]:
    return [_status(call, 401, KEY) for call in CALLS]


def _arrears() -> Sequence[Fault]:
    return [_status(call, 400, ARREARS) for call in ("submit", "transcribe")]


def _free_tier_of_calls() -> Sequence[Fault]:
    return [_status("transcribe", 403, OF_ONE_MODEL, match=f'"{SYNC_MODEL}"')]


def _free_tier_of_tasks() -> Sequence[Fault]:
    return [_status("submit", 403, OF_ONE_MODEL, match=f'"{MODEL}"')]


def _lost_answers() -> Sequence[Fault]:
    """The provider does the work, and bills it, and the answer never arrives."""
    calls = ("submit", "transcribe", "query", "result")
    return [Fault(on=call, kind="drop_after", times=LOST_ANSWERS) for call in calls]


def _unknown() -> Sequence[Fault]:
    return [Fault(on="query", kind="unknown", times=UNKNOWN_ANSWERS)]


def _status(on: str, status: int, code: str, *, match: str = "", retry_after: int | None = None) -> Fault:
    return Fault(
        on=on, kind="status", status=status, code=code, match=match, retry_after=retry_after, times=None
    )


_FAULTS: Final[Mapping[str, Sequence[Callable[[], Sequence[Fault]]]]] = {
    "errors": (_errors,),
    "throttle": (_throttle,),
    "hold_account": (_dead_key, _arrears),
    "hold_model": (_free_tier_of_calls, _free_tier_of_tasks),
    "lose_answers": (_lost_answers,),
    "unknown": (_unknown,),
}
