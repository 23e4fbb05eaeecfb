"""Reasons for an account hold.

The provider codes of each, whether it concerns one model, and what to do.

The two API shapes have different codes for one reason, so a hold is identified by its reason.
`core.provider.error_table` decides whether a code causes a hold.
"""

from collections.abc import Mapping
from enum import StrEnum

from service.core.limits.spend_limit import SpendLimit
from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass


class HoldReason(StrEnum):
    """Why the account, or one of its models, is held."""

    KEY = "key"
    DEBT = "debt"
    FREE_TIER = "free_tier"
    BUDGET = "budget"
    NOT_ACTIVATED = "not_activated"
    WORKSPACE = "workspace"
    OTHER = "other"


_REASONS = {
    "InvalidApiKey": HoldReason.KEY,
    "invalid_api_key": HoldReason.KEY,
    "NOT AUTHORIZED": HoldReason.KEY,
    OwnCode.FOREIGN_TASKS: HoldReason.KEY,
    "Arrearage": HoldReason.DEBT,
    "PrepaidBillOverdue": HoldReason.DEBT,
    "PostpaidBillOverdue": HoldReason.DEBT,
    "AllocationQuota.FreeTierOnly": HoldReason.FREE_TIER,
    "BudgetLimitExceeded": HoldReason.BUDGET,
    "AccessDenied.Unpurchased": HoldReason.NOT_ACTIVATED,
    "CommodityNotPurchased": HoldReason.NOT_ACTIVATED,
    "Workspace.AccessDenied": HoldReason.WORKSPACE,
    "WorkSpaceNotFound": HoldReason.WORKSPACE,
}
_OF_ONE_MODEL = frozenset({HoldReason.FREE_TIER, HoldReason.NOT_ACTIVATED})
"""Reasons that concern one model; other models of the account may work."""
_ADVICE = {
    HoldReason.KEY: (
        "Give a key of this provider's region that is enabled: check SCRIBE_PROVIDER__API_KEY_FILE and"
        " SCRIBE_PROVIDER__BASE_URL, and start again."
    ),
    HoldReason.DEBT: "Settle the account's bills at the provider.",
    HoldReason.FREE_TIER: "Allow paid use of the model in the provider's console: its free quota is used up.",
    HoldReason.BUDGET: "Raise the budget limit that is set for the account at the provider.",
    HoldReason.NOT_ACTIVATED: "Activate the provider's service for this model in its console.",
    HoldReason.WORKSPACE: "Check SCRIBE_PROVIDER__WORKSPACE and the key's rights in that workspace.",
    HoldReason.OTHER: "Check the account, its key and its bills at the provider, and any proxy before it.",
}
_AT_MIDNIGHT = "or wait: submits resume at midnight UTC."
SPENT: Mapping[SpendLimit, str] = {
    SpendLimit.SECONDS: "the limit of billed seconds for this UTC day is reached",
    SpendLimit.COST: "the limit of cost for this UTC day is reached",
}
SPEND_ADVICE: Mapping[SpendLimit, str] = {
    SpendLimit.SECONDS: f"Raise SCRIBE_SPEND__SECONDS_PER_DAY, {_AT_MIDNIGHT}",
    SpendLimit.COST: f"Raise SCRIBE_SPEND__COST_PER_DAY, {_AT_MIDNIGHT}",
}
_GOES_ON = "Jobs are kept; submits resume within half a minute once the provider accepts one."


@dataclass(frozen=True, slots=True)
class HoldCause:
    """An account hold: the provider's error, and `model` if the hold concerns one model only."""

    provider_error: ProviderError
    model: str | None = None

    @property
    def reason(self) -> HoldReason:
        """The reason that the provider's code stands for."""
        return _reason_of(self.provider_error.code)

    @property
    def remedy(self) -> str:
        """What an operator can do."""
        return _ADVICE[self.reason]

    @property
    def advice(self) -> str:
        """What an operator can do, and what follows."""
        return f"{self.remedy} {_GOES_ON}"


def _reason_of(code: str) -> HoldReason:
    """The reason of the code, or of its nearest family that has one, as in the error table."""
    while code not in _REASONS:
        code, dot, _ = code.rpartition(".")
        if not dot:
            return HoldReason.OTHER
    return _REASONS[code]


def concerns_one_model(provider_error: ProviderError) -> bool:
    """Whether the error concerns one model, so that others of the account may work."""
    return HoldCause(provider_error).reason in _OF_ONE_MODEL


def hold_cause(provider_error: ProviderError, model: str | None) -> HoldCause:
    """The hold that a refused submit or poll begins; a poll has no model."""
    return HoldCause(provider_error, model if concerns_one_model(provider_error) else None)
