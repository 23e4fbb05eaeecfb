"""Hypothesis strategies for what the journal holds."""

from hypothesis import strategies as st

from service.contract.output import OutputFormat
from service.core.ending import FailureEnding, Tallied
from service.core.entry import Marker
from service.core.identity import JobKey, Position
from service.core.job import Job, Spec, State
from service.core.record import Cursor
from service.errors import FailureCode
from service.messages import Stage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LATIN = st.text(st.characters(max_codepoint=255), max_size=30)
WHOLE = st.integers(0, 2**53)
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

KEYS = st.builds(JobKey, REQUEST_IDS, st.integers(0, 10**6), st.integers(0, 99))
SPECS = st.builds(
    Spec,
    request_id=REQUEST_IDS,
    replay=st.integers(0, 10**6),
    file_count=st.integers(1, 100),
    job_count=st.integers(1, 100),
    model=TEXT,
    options=OBJECTS,
    metadata=st.none() | OBJECTS,
    headers=st.lists(st.tuples(TEXT, LATIN), max_size=3).map(tuple),
    deadline_ms=WHOLE,
    origin=st.builds(Position, TEXT, st.integers(0, 10**4), WHOLE, st.none() | WHOLE),
    digest=TEXT,
    duplicates_detected=st.booleans(),
    accepted_ms=WHOLE,
    formats=st.lists(st.sampled_from(OutputFormat), unique=True).map(tuple),
    has_fixed_deadline=st.booleans(),
)
FAILURES = st.builds(
    FailureEnding, st.sampled_from(Stage), st.sampled_from(FailureCode), TEXT, st.none() | TEXT, st.booleans()
)
JOBS = st.builds(
    Job,
    spec=SPECS,
    file_index=st.integers(0, 99),
    file_url=TEXT,
    group=st.integers(0, 99),
    state=st.sampled_from([s for s in State if s not in (State.DONE, State.COLLECTING)]),
    due_ms=WHOLE,
    submit_attempts=WHOLE,
    refusals=WHOLE,
    tasks_made=WHOLE,
    poll_attempts=WHOLE,
    fetch_attempts=WHOLE,
    cancelled=st.booleans(),
    sealed_ms=st.none() | WHOLE,
    vendor_offset_ms=st.none() | st.integers(-(2**40), 2**40),
    task_id=st.none() | TEXT,
    task_files=WHOLE,
    former_tasks=st.lists(TEXT, max_size=3).map(tuple),
    submitted_ms=st.none() | WHOLE,
    must_be_result=st.booleans(),
    ending=st.none() | FAILURES,
    tallied=st.none() | st.builds(Tallied, st.none() | WHOLE, st.booleans(), COSTS),
)
MARKERS = st.builds(
    Marker,
    KEYS,
    TEXT,
    st.integers(1, 100),
    st.booleans(),
    st.none() | WHOLE,
    WHOLE,
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | WHOLE,
    COSTS,
)
CURSORS = st.builds(Cursor, WHOLE, st.none() | WHOLE, st.none() | st.integers(0, 2**32 - 1))
