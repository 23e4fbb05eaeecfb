"""Our own error codes: for errors of a call, a task or a file that carry no code of the vendor.

They stand in `ProviderError.code` beside the vendor's codes, and no record names them.
"""

from enum import StrEnum


class OwnCode(StrEnum):
    """One code for each kind of error that the vendor does not name."""

    CONNECT_FAILED = "connect_failed"
    """No connection was made, so no byte of the call left."""
    INTENT_TOO_OLD = "intent_too_old"
    """The POST was not sent: our own delay used up the time in which its intent is valid."""
    NO_SLOT = "no_slot"
    """The call was not made: no slot of the account's quota came in time."""
    TIMEOUT = "timeout"
    """The call was sent, and no complete answer came in time."""
    CONNECTION_LOST = "connection_lost"
    """The call was sent, and its answer is lost or incomplete."""
    NOT_JSON = "not_json"
    """An answer with a successful status is no JSON object."""
    UNEXPECTED_ANSWER = "unexpected_answer"
    """An answer is JSON, but lacks what its call asked for."""
    HTTP_ERROR = "http_error"
    """An answer with an error status names no code."""
    RESTORED = "restored"
    """The submit's answer was lost, and whether it created a task cannot be found out."""
    MISSING_RESULT = "missing_result"
    """The finished task does not name the file."""
    NOT_A_TRANSCRIPT = "not_a_transcript"
    """A complete result does not have the form of a transcript."""
    FOREIGN_TASKS = "foreign_tasks"
    """The provider knows none of our tasks: the key may belong to another account."""
    VOCABULARY_OTHER_MODEL = "vocabulary_other_model"
    """The hotword list was made for another model."""
    VOCABULARY_NOT_READY = "vocabulary_not_ready"
    """The hotword list exists but cannot be used yet, or was just deleted."""
    FETCH_REFUSED = "fetch_refused"
    """The result's URL, or the address of its host, is one that we do not fetch from."""
    FETCH_HOST_REFUSED = "fetch_host_refused"
    """The result's host is not allowed; the only fetch error that concerns other results of the model."""
    FETCH_TOO_LARGE = "fetch_too_large"
    """The result file is larger than the limit."""
    FETCH_UNREADABLE = "fetch_unreadable"
    """The result file cannot be decompressed, or its head cannot be read."""


OWN_CODES = frozenset(OwnCode)
