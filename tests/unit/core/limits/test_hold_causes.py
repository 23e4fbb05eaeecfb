"""Reasons of account holds: a code has the reason of its nearest family, as in the error table."""

import pytest

from service.core.limits.hold_causes import HoldReason, concerns_one_model, hold_cause
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action

CODES = {
    "InvalidApiKey": HoldReason.KEY,
    "InvalidApiKey.Expired": HoldReason.KEY,
    "InvalidApiKey.Expired.X.Y": HoldReason.KEY,
    "invalid_api_key.expired": HoldReason.KEY,
    "NOT AUTHORIZED.x": HoldReason.KEY,
    "Arrearage": HoldReason.DEBT,
    "Arrearage.Foo": HoldReason.DEBT,
    "PrepaidBillOverdue.Foo": HoldReason.DEBT,
    "PostpaidBillOverdue.Foo": HoldReason.DEBT,
    "AllocationQuota.FreeTierOnly": HoldReason.FREE_TIER,
    "AllocationQuota.FreeTierOnly.X": HoldReason.FREE_TIER,
    "BudgetLimitExceeded": HoldReason.BUDGET,
    "BudgetLimitExceeded.Daily": HoldReason.BUDGET,
    "AccessDenied.Unpurchased.X": HoldReason.NOT_ACTIVATED,
    "CommodityNotPurchased.X": HoldReason.NOT_ACTIVATED,
    "Workspace.AccessDenied.X": HoldReason.WORKSPACE,
    "WorkSpaceNotFound.X": HoldReason.WORKSPACE,
    "isv.OUT_OF_SERVICE": HoldReason.OTHER,
    "isv.OUT_OF_SERVICE.X": HoldReason.OTHER,
}
NONE_OF_THEM = ["", ".", "New.Kind.Of.Debt", "AllocationQuota", "ArrearageX", "X.Arrearage", "Workspace"]
OF_ONE_MODEL = {HoldReason.FREE_TIER, HoldReason.NOT_ACTIVATED}


@pytest.mark.parametrize(("code", "reason"), CODES.items())
def test_a_code_of_a_family_has_its_reason_advice_and_scope(code: str, reason: HoldReason) -> None:
    provider_error = ProviderError(code, "words", 403)
    held = hold_cause(provider_error, "fun-asr")
    assert error_table.on_submit(provider_error).action is Action.HOLD
    assert held.reason is reason
    assert concerns_one_model(provider_error) == (reason in OF_ONE_MODEL)
    assert held.model == ("fun-asr" if reason in OF_ONE_MODEL else None)


@pytest.mark.parametrize("code", NONE_OF_THEM)
def test_a_code_of_no_family_has_no_reason_of_its_own(code: str) -> None:
    assert hold_cause(ProviderError(code, "words", 402), "fun-asr").reason is HoldReason.OTHER
