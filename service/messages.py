"""The wire contract, v1, whole: what comes in (`read_request`), what goes out (`Result` and `Failure`)."""

from service.contract.options import Notice, NoticeCode
from service.contract.outcome import (
    FAILURE_TYPE,
    RESULT_TYPE,
    STAGES,
    Attempts,
    Failure,
    Origin,
    ProviderTimes,
    RequestSummary,
    Result,
    Times,
    Usage,
    rfc3339,
    stage_seconds,
    utc_time,
)
from service.contract.reading import (
    MAX_RECORD_BYTES,
    REQUEST_TYPE,
    DecodedRequest,
    RawFields,
    RequestLimits,
    digest,
    raw_failure_fields,
    read_request,
)
from service.contract.request import MAX_FILES, MAX_REPLAY, Action, Request
from service.contract.speech import AudioProperties, Channel, Sentence, Transcript, Word
from service.contract.stage import Stage

__all__ = [
    "FAILURE_TYPE",
    "MAX_FILES",
    "MAX_RECORD_BYTES",
    "MAX_REPLAY",
    "REQUEST_TYPE",
    "RESULT_TYPE",
    "STAGES",
    "Action",
    "Attempts",
    "AudioProperties",
    "Channel",
    "DecodedRequest",
    "Failure",
    "Notice",
    "NoticeCode",
    "Origin",
    "ProviderTimes",
    "RawFields",
    "Request",
    "RequestLimits",
    "RequestSummary",
    "Result",
    "Sentence",
    "Stage",
    "Times",
    "Transcript",
    "Usage",
    "Word",
    "digest",
    "raw_failure_fields",
    "read_request",
    "rfc3339",
    "stage_seconds",
    "utc_time",
]
