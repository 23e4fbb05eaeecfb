"""Outcome records: their bytes, and what they keep out of them."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.outcome import Attempts, Failure, Origin, Result, Times, Usage, rfc3339
from service.contract.stage import Stage
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.errors import FailureCode

NOON = datetime(2026, 3, 2, 13, 0, 0, 123_999, timezone(timedelta(hours=1)))
TRANSCRIPT = Transcript(
    audio=AudioProperties(format="mp3"),
    channels=(
        Channel(
            0, "ü 会议", sentences=(Sentence(1, 0, 9, "ü 会议", words=(Word(0, 9, "ü", None, {"x": 1}),)),)
        ),
    ),
)


def result(**fields: object) -> Result:
    return Result.model_validate(
        {
            "request_id": "r",
            "replay": 0,
            "file_index": 0,
            "file_count": 1,
            "file_url": "https://h/a.wav",
            "model": "fun-asr",
            "task_id": None,
            "transcript": TRANSCRIPT,
            "usage": Usage(),
            "times": Times(),
            "attempts": Attempts(),
            **fields,
        }
    )


def failure(**fields: object) -> Failure:
    base = {"stage": Stage.POLL, "code": FailureCode.PROVIDER_ERROR, "message": "m", "retryable": True}
    return Failure.model_validate({**base, **fields})


def test_times_are_written_in_utc_with_milliseconds_and_z() -> None:
    assert rfc3339(NOON) == "2026-03-02T12:00:00.123Z"
    document = json.loads(result(times=Times(accepted_at=NOON)).to_bytes())
    assert document["times"]["accepted_at"] == "2026-03-02T12:00:00.123Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        Times(accepted_at=NOON.replace(tzinfo=None))


def test_bytes_are_compact_utf_8_and_keep_nulls() -> None:
    value = result().to_bytes()
    assert b'"task_id":null' in value
    assert "ü 会议".encode() in value
    assert b": " not in value.replace("ü 会议".encode(), b"")


def test_provider_extra_is_written_only_where_there_is_one() -> None:
    value = result().to_bytes()
    assert value.count(b"provider_extra") == 1
    assert b'"provider_extra":{"x":1}' in value


def test_a_result_read_back_is_the_same_result() -> None:
    first = result(
        times=Times(published_at=NOON.replace(microsecond=123_000)), metadata={"a": [None, 1.5, "ü"]}
    )
    again = Result.model_validate_json(first.to_bytes())
    assert again.to_bytes() == first.to_bytes()
    assert again.transcript == TRANSCRIPT


def test_a_file_url_loses_its_query_whoever_builds_the_record() -> None:
    assert result(file_url="https://h/a.wav?Signature=canary").file_url == "https://h/a.wav"
    assert failure(file_url="https://h/a.wav?Signature=canary").file_url == "https://h/a.wav"


def test_foreign_texts_of_a_failure_are_always_redacted() -> None:
    built = failure(message="no https://h/a?Signature=canary", provider_code="Bearer canary")
    assert "canary" not in built.to_bytes().decode()


def test_the_request_of_a_failure_is_kept_as_it_was() -> None:
    request = {"file_urls": ["https://h/a.wav?Signature=x"], "deep": [{"n": 10**40}]}
    assert json.loads(failure(original_request=request).to_bytes())["original_request"] == request


@pytest.mark.parametrize("build", [result, failure])
def test_an_unknown_field_is_refused_when_we_build_a_record(build: object) -> None:
    assert callable(build)
    with pytest.raises(ValidationError):
        build(tenant="blue")


def test_outcomes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        setattr(result(), "model", "other")  # noqa: B010  (mypy knows that it is read-only)


def test_an_origin_names_the_record() -> None:
    origin = Origin(topic="t", partition=1, offset=2, timestamp=NOON.astimezone(UTC))
    assert json.loads(failure(origin=origin).to_bytes())["origin"] == {
        "topic": "t",
        "partition": 1,
        "offset": 2,
        "timestamp": "2026-03-02T12:00:00.123Z",
    }


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_metadata_comes_back_unchanged(metadata: dict[str, object]) -> None:
    assert json.loads(result(metadata=metadata).to_bytes())["metadata"] == metadata
