"""This process's budgets: its share, by partitions, of the configured part of the account's quota (N7)."""

from collections import OrderedDict
from dataclasses import dataclass, field

from service.clock import Clock
from service.contract.models import model_info
from service.core.budget import Budget

MAX_MODELS = 64
"""Requests may name any dated snapshot of a model: the budget asked for longest ago is forgotten."""


@dataclass(slots=True)
class Budgets:
    """One budget for queries, one for lists, one for cancels, and one for the submits of each model.

    `calls_per_second` and `submits_per_minute` are the account's quota times the part we may use; without
    the latter the model table's number counts.
    """

    clock: Clock
    part: float
    calls_per_second: float
    submits_per_minute: float | None
    share: float = 0.0
    query: Budget = field(init=False)
    listing: Budget = field(init=False)
    cancel: Budget = field(init=False)
    submits: OrderedDict[str, Budget] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        now = self.clock.boot_seconds()
        self.query, self.listing, self.cancel = (self._budget(0.0, now) for _ in range(3))

    def submit(self, model: str) -> Budget:
        """The budget for submits of a model; dated snapshots have their own, as in the vendor's table."""
        if model not in self.submits:
            self.submits[model] = self._budget(self._submit_share(model), self.clock.boot_seconds())
        self.submits.move_to_end(model)
        if len(self.submits) > MAX_MODELS:
            self.submits.popitem(last=False)
        return self.submits[model]

    def set_share(self, share: float) -> None:
        """`share` is the part of all partitions that is ours, as of this rebalance."""
        self.share = share
        now = self.clock.boot_seconds()
        for budget in (self.query, self.listing, self.cancel):
            budget.set_share(self.calls_per_second * self.part * share, now)
        for model, budget in self.submits.items():
            budget.set_share(self._submit_share(model), now)

    def _budget(self, share_per_second: float, now: float) -> Budget:
        """The provider counts sliding seconds, so the burst comes on top of the rate.

        It takes half of what our part leaves free; the other half is for calls that bunch on their way.
        """
        return Budget(share_per_second, now, burst_seconds=(1 - self.part) / self.part / 2)

    def _submit_share(self, model: str) -> float:
        info = model_info(model)
        per_minute = self.submits_per_minute or (info.submits_per_minute if info else 0.0)
        return per_minute / 60 * self.part * self.share
