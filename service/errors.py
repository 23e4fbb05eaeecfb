"""The closed list of failure codes, and the error tree of the service.

    ServiceError
        ConfigError        the service refuses to start; exit code 78
        InvalidRecord      a request record cannot be served; it becomes a failure record
        ClusterError       Kafka did not do what was asked; nothing was lost
            ClusterUnavailable it did not answer, or not yet: the caller may repeat the call
            ClusterRefused     the same call will get the same answer
                NotAMember         the group does not take our commit: another member owns the partition
                NotPermitted       the group is closed to our login
                Unsupported        the broker lacks transactions, or idempotent producers
                OffsetsMissing     the topic does not have the next offsets of these partitions
                UnreadableRecord   the client cannot read the next record
            PublishError       it did not accept our records: the writer keeps the batch
                RecordTooLarge     it never accepts this record (also a ClusterRefused): send a smaller one
        ProviderRefused    the provider refused a command of the CLI
        Fenced             another owner wrote to our shard: stop its effects
        RestoreError       a shard's journal cannot be trusted: the shard is refused
        IllegalTransition  a bug: no state may meet this event
        NoAnswer           a replica's page did not answer (`cli.pages`)

What the provider answers is not an error of ours: it is data (`core.provider.answers.ProviderError`) that
`core.provider.error_table` decides on. Foreign exceptions stop at their adapter: `kafka.client` translates
those of aiokafka into subclasses of `ClusterError`; `provider` turns those of httpx and aiohttp, and its
private ones (`Withheld`, `BodyBroken`, `BodyTooLarge`, `HeadTooLarge`, `AddressRefused`, `ProxyFailed`), into
answers; what asks a token endpoint or the Kubernetes API server translates those that it meets itself.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import JsonValue


class FailureCode(StrEnum):
    """Every `code` a failure record can carry.

    The docstring under each says what to do.
    """

    INVALID_ENCODING = "invalid_encoding"
    """The value is not UTF-8. Encode the request as UTF-8 JSON and publish it again."""
    INVALID_JSON = "invalid_json"
    """The value is not one JSON document we accept (NaN, duplicate keys, too deep, too long numbers)."""
    INVALID_REQUEST = "invalid_request"
    """A field is missing, unknown or of a wrong type or range: the message names it."""
    INVALID_OPTION = "invalid_option"
    """An option does not fit the model: the message names both."""
    UNKNOWN_MODEL = "unknown_model"
    """No model family we know has this name: the message lists those that exist."""
    UNSUPPORTED_VERSION = "unsupported_version"
    """`ce_type` names a version this service does not speak: publish v1 or upgrade the service."""
    REQUEST_TOO_LARGE = "request_too_large"
    """The record is over 512 KiB: send fewer files or less metadata."""
    NOT_ALLOWED = "not_allowed"
    """The operator's settings do not allow this model or source host."""
    REQUEST_ID_CONFLICT = "request_id_conflict"
    """Another request has this id and `replay`: use a new id, or the number that the message names."""
    CANCEL_UNKNOWN_REQUEST = "cancel_unknown_request"
    """This partition knows no request of this id and `replay`: was the record's key the request_id?"""
    ALREADY_FINISHED = "already_finished"
    """The request has ended, as the message says: to do it again use the `replay` number that it names."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The deadline passed first: publish again with a later one, under the next unused `replay` number."""
    CANCELLED = "cancelled"
    """A cancel request ended it."""
    SUBMIT_UNCERTAIN = "submit_uncertain"
    """It is unknown whether the submit created a task, which is billed: replay if two bills are fine."""
    SUBMIT_REJECTED = "submit_rejected"
    """The provider refused the request as it stands: `provider_code` says why."""
    VOCABULARY_QUOTA = "vocabulary_quota"
    """The account has no place for one more hotword list: delete some (`scribe hotwords`), then replay."""
    VOCABULARY_UNUSABLE = "vocabulary_unusable"
    """The hotword list is not there, not ready, or was made for another model: the message says which."""
    AUDIO_UNREACHABLE = "audio_unreachable"
    """The provider could not download the file: make its URL public and fast, then replay the request."""
    AUDIO_FORBIDDEN = "audio_forbidden"
    """The origin refused the provider (`DashScopeUserBot`): sign a fresh URL, and replay with it."""
    AUDIO_NOT_FOUND = "audio_not_found"
    """The file's origin has no such file: put it there, then replay the request."""
    AUDIO_INVALID_URL = "audio_invalid_url"
    """The provider does not accept the file's URL: percent-encode it and publish it with a new id."""
    AUDIO_TOO_LARGE = "audio_too_large"
    """The file is over the model's size limit: split or compress it, and publish that with a new id."""
    AUDIO_TOO_LONG = "audio_too_long"
    """The audio is longer than the model takes: split it, and publish the parts with a new id."""
    AUDIO_UNUSABLE = "audio_unusable"
    """The file holds no audio the provider can decode."""
    CONTENT_REJECTED = "content_rejected"
    """The provider's content inspection refused the file."""
    PROVIDER_ERROR = "provider_error"
    """The provider failed on this file more often than we retry: replay the request later."""
    TASK_LOST = "task_lost"
    """The provider no longer knows the task: replay the request."""
    RESULT_EXPIRED = "result_expired"
    """The provider's result was gone before it was fetched (24 h): replay the request."""
    RESULT_REFUSED = "result_refused"
    """The result's URL is one the fetch guard does not open: see `SCRIBE_FETCH__HOSTS`."""
    RESULT_UNREADABLE = "result_unreadable"
    """The result file could not be fetched or is not a transcript."""
    INTERNAL_ERROR = "internal_error"
    """A fault of Scribe itself; it may be billed. Report the log's `internal_error` line, then replay it."""
    RESULT_TOO_LARGE = "result_too_large"
    """No form of the transcript fits the results topic: raise its max.message.bytes, then replay."""


class Fault(StrEnum):
    """Who can prevent a failure."""

    REQUESTER = "requester"
    """Whoever published the request, or has the audio."""
    PROVIDER = "provider"
    OPERATOR = "operator"
    """Whoever runs Scribe: settings, quota, topics, the account."""
    SERVICE = "service"
    """Scribe itself."""


_PREVENTABLE_BY: dict[Fault, tuple[FailureCode, ...]] = {
    Fault.REQUESTER: (
        FailureCode.INVALID_ENCODING,
        FailureCode.INVALID_JSON,
        FailureCode.INVALID_REQUEST,
        FailureCode.INVALID_OPTION,
        FailureCode.UNKNOWN_MODEL,
        FailureCode.UNSUPPORTED_VERSION,
        FailureCode.REQUEST_TOO_LARGE,
        FailureCode.NOT_ALLOWED,
        FailureCode.REQUEST_ID_CONFLICT,
        FailureCode.CANCEL_UNKNOWN_REQUEST,
        FailureCode.ALREADY_FINISHED,
        FailureCode.CANCELLED,
        FailureCode.SUBMIT_REJECTED,
        FailureCode.VOCABULARY_UNUSABLE,
        FailureCode.AUDIO_UNREACHABLE,
        FailureCode.AUDIO_FORBIDDEN,
        FailureCode.AUDIO_NOT_FOUND,
        FailureCode.AUDIO_INVALID_URL,
        FailureCode.AUDIO_TOO_LARGE,
        FailureCode.AUDIO_TOO_LONG,
        FailureCode.AUDIO_UNUSABLE,
        FailureCode.CONTENT_REJECTED,
    ),
    Fault.PROVIDER: (
        FailureCode.SUBMIT_UNCERTAIN,
        FailureCode.PROVIDER_ERROR,
        FailureCode.TASK_LOST,
        FailureCode.RESULT_UNREADABLE,
    ),
    Fault.OPERATOR: (
        # Work waited longer than its publisher gave it: quota, holds and limits are the operator's.
        FailureCode.DEADLINE_EXCEEDED,
        FailureCode.VOCABULARY_QUOTA,
        FailureCode.RESULT_EXPIRED,
        FailureCode.RESULT_REFUSED,
        FailureCode.RESULT_TOO_LARGE,
    ),
    Fault.SERVICE: (FailureCode.INTERNAL_ERROR,),
}
FAULTS: Mapping[FailureCode, Fault] = MappingProxyType(
    {code: fault for fault, codes in _PREVENTABLE_BY.items() for code in codes}
)
"""Who can prevent each failure: an SLO counts failures of the provider and of the service alone."""


class ServiceError(Exception):
    """The base of the service's own errors."""


class ConfigError(ServiceError):
    """The settings or the environment do not allow a start.

    The message says what to change.
    """


class InvalidRecord(ServiceError):
    """A request record cannot be served.

    `message` is safe to publish: it names fields and limits and never repeats a URL's query or a secret.
    `request_id`, `replay`, `model` and `metadata` are set where the record could be read that far.
    """

    def __init__(
        self,
        code: FailureCode,
        message: str,
        request_id: str | None = None,
        *,
        replay: int | None = None,
        model: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.replay = replay
        self.model = model
        self.metadata = metadata


class ClusterError(ServiceError):
    """Kafka did not do what was asked; nothing was lost."""


class ClusterUnavailable(ClusterError):
    """Kafka did not answer in time, or not yet: the call may be repeated."""


class ClusterRefused(ClusterError):
    """The same call will get the same answer, until someone changes something."""


class NotAMember(ClusterRefused):
    """The group does not take a commit of ours: it has given the partition to another member."""


class NotPermitted(ClusterRefused):
    """Our login may not join the group; the message names the permission."""


class Unsupported(ClusterRefused):
    """The broker lacks a feature that the client was told to use."""


class OffsetsMissing(ClusterRefused):
    """The next offset to read is not in the topic, for these partitions."""

    def __init__(self, message: str, partitions: frozenset[int] = frozenset()) -> None:
        super().__init__(message)
        self.partitions = partitions


class UnreadableRecord(ClusterRefused):
    """The client cannot read a record, such as one with a header name that is not UTF-8."""


class PublishError(ClusterError):
    """The broker did not take a record; whether to try again is the writer's decision."""


class RecordTooLarge(PublishError, ClusterRefused):
    """The broker or the client will never take a record of this size."""


class ProviderRefused(ServiceError):
    """The provider refused a command; the message holds its reason."""


class Fenced(ServiceError):
    """Another owner has claimed the shard: its effects must stop at once.

    `epoch` is that of the claim, if it is known.
    """

    def __init__(self, partition: int, epoch: int | None = None) -> None:
        claim = "" if epoch is None else f" in epoch {epoch}"
        super().__init__(f"another member has claimed partition {partition}{claim}")
        self.partition = partition
        self.epoch = epoch


class RestoreError(ServiceError):
    """A shard's journal cannot be trusted, so it is not served.

    The message names topic and way out.
    """


class IllegalTransition(ServiceError):
    """A job met an event that its state cannot have: a bug in the engine."""
