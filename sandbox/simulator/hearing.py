"""What the scripted engine makes of the words that are said, by the options of the submit: each option has
one effect, small but plain to see. Times are not its matter.
"""

from collections.abc import Sequence
from typing import Final

from sandbox.simulator.recording import split_mark
from sandbox.simulator.script import Script
from sandbox.simulator.tasks import Submission

FILLERS: Final = frozenset({"um", "uh", "er", "erm", "hmm"})
_NUMBERS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
DIGITS: Final = {word: str(number) for number, word in enumerate(_NUMBERS.split())}


def hear(said: Sequence[str], script: Script, submission: Submission) -> list[str]:
    """The words as they come out; one that the script has misheard is right if it is a hotword in force."""
    wrong = {right: heard for right, heard in script.misheard if right not in submission.hotwords}
    words = [_replaced(word, wrong) for word in said] if wrong else list(said)
    if submission.asked("disfluency_removal_enabled") is True:
        words = [word for word in words if split_mark(word)[0].casefold() not in FILLERS]
    if submission.asked("enable_itn") is True:
        words = [_replaced(word, DIGITS) for word in words]
    return words


def _replaced(word: str, others: dict[str, str]) -> str:
    """Another word with the same mark behind it."""
    text, mark = split_mark(word)
    return others[text.casefold()] + mark if text.casefold() in others else word
