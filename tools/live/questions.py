"""What is asked, what Scribe takes for granted, and how an answer compares to that. Pure data.

`source` is where it stands in our notes on the vendor's documents: 1.x where they contradict each other, 2.x
where they say nothing; a dash is for what they say once, or only a client of theirs.
"""

from dataclasses import dataclass
from enum import StrEnum


class ErrorPolicy(StrEnum):
    """How an answer compares to what Scribe takes for granted."""

    SAME = "same"
    ALLOWED = "other, allowed for"
    ANY = "any is fine"
    DIFFERENT = "DIFFERENT"
    NONE = "no answer"


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer: a word to compare, and what may be of interest beside it."""

    word: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.detail})" if self.detail else self.word


@dataclass(frozen=True, slots=True)
class Question:
    """One open question. Scribe expects one of `expected`, reads `allowed` as well; neither: it takes any."""

    source: str
    text: str
    expected: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    @property
    def assumed(self) -> str:
        """What Scribe takes for granted, in words."""
        if not self.expected:
            return "nothing"
        return " or ".join(self.expected) + (f"; reads {', '.join(self.allowed)} too" if self.allowed else "")

    def judge(self, seen: Seen) -> ErrorPolicy:
        """How the answer compares."""
        if seen.word in self.expected:
            return ErrorPolicy.SAME
        if seen.word in self.allowed:
            return ErrorPolicy.ALLOWED
        return ErrorPolicy.DIFFERENT if self.expected else ErrorPolicy.ANY


YES, NO = "yes", "no"

TWO_FILES = Question(
    "1.1",
    "Does one submit of fun-asr take two URLs? (If so, SCRIBE_REQUESTS__FILES_PER_TASK may be set.)",
    ("refused",),
    (YES,),
)
ALL_FAILED = Question(
    "1.2",
    "How does a task end whose only file is missing?",
    ("SUCCEEDED",),
    ("FAILED", "FAILED with results"),
)
MISSING_FILE = Question(
    "1.2",
    "What is the code of a missing file?",
    ("FILE_404_NOT_FOUND",),
    ("FILE_DOWNLOAD_FAILED", "InvalidFile.DownloadFailed", "FILE_403_FORBIDDEN"),
)
QUERY = Question("1.3, 1.4", "Does GET, without X-DashScope-Async, query a task?", (YES,))
BAD_MODEL = Question(
    "1.8", "What is said of a model that does not exist?", ("400 InvalidParameter",), ("404 ModelNotFound",)
)
LIST_KEY = Question("1.9", "Under which key are the list's rows?", ("data",), ("tasks",))
NESTING = Question(
    "1.10", "Where is the sentence of fun-asr-flash-2026-06-15?", ("output",), ("output.output",)
)
DATA_URL = Question("1.11", "What becomes of a data: URL in a file task?", ("refused",), ("the file fails",))
RATE_HEADERS = Question("2.1", "Which headers speak of rates or retries?", ("none",))
PAGE_SIZE = Question("2.3", "How large is a page of the list when 100 are asked for?", ("100",), ("smaller",))
LAST_PAGE = Question("2.3", "What is behind the last page of the list?", ("an empty page",))
ZONE = Question("2.4", "In which zone are submit_time and its like?", ("GMT+8",))
LACKED_CHANNEL = Question("2.5", "What becomes of a channel_id that the file lacks?")
BAD_HINT = Question("2.6", "What becomes of a language hint that is none?")
MANY_SPEAKERS = Question("2.6", "What becomes of a speaker_count out of range?")
NO_VOCABULARY = Question("2.7", "What becomes of a vocabulary_id that nobody has?")
TWICE = Question("2.8", "How many results have two equal URLs in one submit?")
ECHO = Question("2.9", "Does a result name its file byte for byte?", (YES,))
SIGNED_AGAIN = Question("2.10", "Does another query sign the result's URL anew?")
CANCEL_UNKNOWN = Question("2.13", "What is said to a cancel of no task?", ("400 UnsupportedOperation",))
OMNI_USAGE = Question("2.16", "Does the stream of Omni end with its usage?", (YES,))
SILENCE = Question("2.19", "What does qwen3-asr-flash make of silence?")
QUERY_UNKNOWN = Question("-", "What is the status of no task?", ("UNKNOWN",))
RESULT_HOST = Question("-", "May a result be fetched as Scribe fetches it?", (YES,))
RESULT_FILE = Question("-", "Does the result of fun-asr read as a transcript?", (YES,))
USAGE = Question("-", "Where does fun-asr say what it billed?", ("usage.duration",), ("elsewhere",))
ONE_RESULT = Question("-", "Where is the result of qwen3-asr-flash-filetrans?", ("result",), ("results",))
SHORT_ANSWER = Question("-", "Does qwen3-asr-flash answer with text and usage.seconds?", (YES,))
SAMPLE_RATE = Question("-", "Does fun-asr-flash-2026-06-15 take sample_rate as a text?", (YES,))
TASK_TOKENS = Question("-", "Where does qwen-audio-3.1-asr-flash-filetrans tell its bill?")
SHORT_TOKENS = Question("-", "Does qwen-audio-3.1-asr-flash answer with its tokens?", (YES,))
SPEAKERS = Question(
    "-", "Where are the speakers of qwen-audio-3.1-asr-flash?", ("sentences",), ("sentence", "nowhere")
)
HOTWORD_LISTS = Question("-", "Does the key list the account's hotword lists?", (YES,))
