"""What the engine is known to do wrong, by the names of the design page, each told by a strict rule.

A complaint that fits no rule is a fault of its own. A rule goes when its violation does.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from tests.chaos.evidence import Complaint, Evidence, Rules
from tests.chaos.load import RESULT

OF_A_STEP: Final = frozenset({"deadline_exceeded", "result_expired", "submit_uncertain"})
"""An uncertain submit of days ago cannot be found in the provider's list any more."""

Rule = Callable[[Complaint, Evidence, Rules], bool]


def e6(complaint: Complaint, evidence: Evidence, rules: Rules) -> bool:
    """A worker that begins while its wall clock is wrong by days may end open jobs, and forget what has
    ended (a repeat is served anew), until the vendor's date is believed.
    """
    del rules
    if not evidence.acts.get("clock_step"):
        return False
    if complaint.kind == "stalls":
        return complaint.subject == "clock"
    again = _asked_again(evidence)
    if complaint.kind == "wrong" and not complaint.codes:
        return any(key.rpartition("/")[0] == complaint.subject for key in again)
    if complaint.kind == "wrong":
        return complaint.codes <= OF_A_STEP
    if complaint.kind not in ("duplicates", "billed"):
        return False
    urls = {file.url for file in evidence.files if file.id in again}
    return complaint.subject in again or complaint.subject in urls


def s1(complaint: Complaint, evidence: Evidence, rules: Rules) -> bool:
    """In `at_least_once` a synchronous result that is out is called for until no call is left."""
    del evidence
    is_repeat = complaint.kind == "duplicates" and rules.mode == "at_least_once"
    return is_repeat and complaint.codes == {RESULT, "result_expired"}


RULES: Final[Mapping[str, Rule]] = {"E6": e6, "S1": s1}
"""By their names in docs/guarantees.md."""


def name_of(complaint: Complaint, evidence: Evidence, rules: Rules) -> str | None:
    """The known violation that the complaint is, if the run may show it."""
    return next(
        (name for name, rule in RULES.items() if name in rules.known and rule(complaint, evidence, rules)),
        None,
    )


def _asked_again(evidence: Evidence) -> set[str]:
    """The jobs that more than one record asks for."""
    times = Counter(key for each in evidence.asked if each.purpose == "request" for key in each.keys)
    return {key for key, count in times.items() if count > 1}
