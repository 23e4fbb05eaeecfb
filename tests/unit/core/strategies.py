"""Hypothesis strategies for what the journal holds."""

from hypothesis import strategies as st

from service.contract.output_formats import OutputFormat
from service.contract.stage import Stage
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest, RequestFile
from service.core.job.ending import FailureEnding
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.request_record import Cursor
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.errors import FailureCode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LATIN = st.text(st.characters(max_codepoint=255), max_size=30)
WHOLE = st.integers(0, 2**53 - 1)
TIMES = st.integers(0, 2**44)
REQUEST_IDS = st.from_regex(r"[A-Za-z0-9._:@-]{1,40}", fullmatch=True)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
COSTS = st.floats(0, 1e12)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
INDEXES = st.integers(0, 99)

ORIGINS = st.builds(Origin, WHOLE, WHOLE)
REFS = st.builds(JobRef, ORIGINS, INDEXES)
SUBMISSION_KEYS = st.builds(SubmissionKey, WHOLE, WHOLE)


@st.composite
def requests(draw: st.DrawFn) -> AcceptedRequest:
    """Any open request."""
    origin = draw(ORIGINS)
    indexes = draw(st.lists(INDEXES, min_size=1, max_size=5, unique=True))
    return AcceptedRequest(
        origin=origin,
        topic=draw(TEXT),
        partition=draw(st.integers(0, 10**4)),
        timestamp_ms=draw(st.none() | WHOLE),
        request_id=draw(REQUEST_IDS),
        replay=draw(st.integers(0, 10**6)),
        digest=draw(TEXT),
        model=draw(TEXT),
        files=tuple(RequestFile(index, draw(TEXT)) for index in indexes),
        file_count=draw(st.integers(1, 100)),
        deadline_ms=draw(WHOLE),
        accepted_ms=draw(WHOLE),
        options=draw(OBJECTS),
        metadata=draw(st.none() | OBJECTS),
        headers=tuple(draw(st.lists(st.tuples(TEXT, LATIN), max_size=3))),
        formats=tuple(draw(st.lists(st.sampled_from(OutputFormat), unique=True))),
        has_fixed_deadline=draw(st.booleans()),
        duplicates_detected=draw(st.booleans()),
    )


ENDS = st.builds(FileEnd, INDEXES, st.booleans(), st.none() | WHOLE, COSTS)
FINISHED = st.builds(
    FinishedRequest,
    ORIGINS,
    REQUEST_IDS,
    st.integers(0, 10**6),
    TEXT,
    st.lists(ENDS, min_size=1, max_size=5).map(tuple),
    WHOLE,
)
FAILURES = st.builds(
    FailureEnding, st.sampled_from(Stage), st.sampled_from(FailureCode), TEXT, st.none() | TEXT, st.booleans()
)
INTENTS = st.builds(Intent, TIMES, st.none() | st.integers(-(2**40), 2**40), INDEXES, TEXT)
COUNTERS = st.builds(Counters, *[st.integers(0, 1000)] * 4)


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    """Any submission as the journal knows it."""
    state = draw(st.sampled_from(SubmissionState))
    is_unanswered = state in (SubmissionState.INTENDED, SubmissionState.UNCERTAIN)
    is_running = state is SubmissionState.RUNNING
    return Submission(
        draw(SUBMISSION_KEYS),
        draw(TEXT),
        tuple(draw(st.lists(REFS, max_size=5))),
        draw(TIMES),
        state=state,
        due_ms=draw(st.just(0) | TIMES.filter(bool)),
        counters=draw(COUNTERS),
        intent=draw(INTENTS if is_unanswered else st.none() | INTENTS),
        task_id=draw(TEXT) if is_running else None,
        submitted_ms=draw(st.none() | TIMES),
        is_followed=draw(st.booleans()) if is_running else False,
    )


CURSORS = st.builds(Cursor, WHOLE, st.none() | WHOLE, st.none() | st.integers(0, 2**32 - 1), WHOLE)
