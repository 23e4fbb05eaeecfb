"""Outcomes: ids that never change, times and bills, what is kept private, and forms that always fit."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.model_table import Family
from service.contract.options import NoticeCode
from service.contract.outcome import Failure, RequestSummary, Result
from service.contract.output_formats import OutputFormat
from service.contract.stage import Stage
from service.contract.traceparent import TraceParent
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word, empty_transcript
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.job import FetchProgress, Job, JobState, TaskEnd
from service.core.outcome.build import Outcome, OutcomeRules, billed_seconds, job_outcome, record_failure
from service.core.outcome.shrink import shrink
from service.core.transcript.normalise import normalise
from service.errors import FailureCode, InvalidRecord
from tests.unit.core.samples import NOW_MS, URL, job, record, request, transcript

FAILED = FailureEnding(Stage.POLL, FailureCode.AUDIO_FORBIDDEN, "the origin said 403", "FILE_403_FORBIDDEN")
SUMMARY = RequestSummary(succeeded=1, failed=0, billed_seconds=9)


def finished(ending: ResultEnding | FailureEnding | None = None, **fields: Any) -> Job:
    """A job whose ending is decided."""
    plain = job(
        JobState.FINISHING,
        task_ids=("t1",),
        task_files=1,
        submitted_ms=NOW_MS - 3_000,
        task_end=TaskEnd(NOW_MS - 1_000, 9, ("a", "b", "c")),
        submit_attempts=2,
        poll_attempts=5,
        fetch=FetchProgress(attempts=1),
        ending=ending or ResultEnding(transcript()),
    )
    return replace(plain, **fields)


def outcome(of: Job, summary: RequestSummary | None = None, rules: OutcomeRules | None = None) -> Outcome:
    """Its outcome."""
    return job_outcome(of, summary, NOW_MS, rules or OutcomeRules())


def result(of: Job, summary: RequestSummary | None = None) -> Result:
    """Its outcome, a result."""
    body = outcome(of, summary).body
    assert isinstance(body, Result)
    return body


def failure(of: Job, rules: OutcomeRules | None = None) -> Failure:
    """Its outcome, a failure."""
    body = outcome(of, rules=rules).body
    assert isinstance(body, Failure)
    return body


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
COPIED = (("tracestate", "a=b"), ("traceparent", f"00-{TRACE}-{PARENT}-01"), ("correlation-id", "c"))


def copied(headers: tuple[tuple[str, str], ...], *, has_publish_span: bool) -> list[tuple[str, str]]:
    """The headers of an outcome besides CloudEvents' own, of a request that had these."""
    made = outcome(
        finished(request=request(headers=headers)), rules=OutcomeRules(has_publish_span=has_publish_span)
    )
    own = ("ce_", "content-type")
    return [(name, value.decode("latin-1")) for name, value in made.headers if not name.startswith(own)]


def test_an_outcome_repeats_the_requests_headers() -> None:
    assert copied(COPIED, has_publish_span=False) == list(COPIED)


def test_where_publications_have_spans_a_sampled_trace_goes_on_from_them() -> None:
    made = copied(COPIED, has_publish_span=True)
    child = TraceParent(TRACE, PARENT, is_sampled=True).child_id("r/0/0")
    assert made == [COPIED[0], ("traceparent", f"00-{TRACE}-{child}-01"), COPIED[2]]
    assert copied(COPIED, has_publish_span=True) == made


@pytest.mark.parametrize("value", [f"00-{TRACE}-{PARENT}-00", "00-1", "\xff"])
def test_what_no_span_was_recorded_for_is_repeated_as_it_came(value: str) -> None:
    headers = (("traceparent", value),)
    assert copied(headers, has_publish_span=True) == list(headers)


def test_a_result_tells_the_whole_story_of_its_file() -> None:
    body = json.loads(result(finished(), SUMMARY).to_bytes())
    assert body["file_url"] == "https://h.example/a.wav"
    assert body["usage"] == {
        "billed_seconds": 9,
        "estimated": False,
        "task_billed_seconds": 9,
        "input_tokens": None,
        "output_tokens": None,
    }
    assert body["attempts"] == {"submit": 2, "poll": 5, "fetch": 1}
    assert body["times"] == {
        "requested_at": "2025-10-09T08:53:19.500Z",
        "accepted_at": "2025-10-09T08:53:19.900Z",
        "submitted_at": "2025-10-09T08:53:17.000Z",
        "completed_at": "2025-10-09T08:53:19.000Z",
        "fetched_at": "2025-10-09T08:53:20.000Z",
        "published_at": "2025-10-09T08:53:20.000Z",
        "provider": {"submit_time": "a", "scheduled_time": "b", "end_time": "c"},
    }
    assert body["request_summary"] == {"succeeded": 1, "failed": 0, "billed_seconds": 9}
    assert body["metadata"] == {"n": 1}


@pytest.mark.parametrize(
    ("fixed", "deadline_ms", "retryable"),
    [
        (True, NOW_MS, False),
        (True, NOW_MS - 1, False),
        (True, NOW_MS + 1, True),
        (False, NOW_MS - 1, True),
        (False, NOW_MS + 1, True),
    ],
)
def test_what_can_never_be_in_time_again_is_not_retryable(
    fixed: bool, deadline_ms: int, retryable: bool
) -> None:
    """A deadline that is a time stays where it is; one that counts from the record moves with it."""
    asked = request(has_fixed_deadline=fixed, deadline_ms=deadline_ms)
    for code in (FailureCode.DEADLINE_EXCEEDED, FailureCode.PROVIDER_ERROR):
        ending = FailureEnding(Stage.SUBMIT, code, "too late", retryable=True)
        assert failure(finished(ending, request=asked)).retryable is retryable
    hopeless = FailureEnding(Stage.POLL, FailureCode.AUDIO_UNUSABLE, "no audio", retryable=False)
    assert failure(finished(hopeless, request=asked)).retryable is False
    smallest: Outcome | None = outcome(finished(request=asked))
    while smallest is not None and isinstance(smallest.body, Result):
        smallest = shrink(smallest)
    assert smallest is not None
    assert isinstance(smallest.body, Failure)
    assert smallest.body.retryable is retryable


def test_an_outcome_is_a_cloud_event_and_repeats_the_requests_headers() -> None:
    made = outcome(finished(request=request(headers=(("traceparent", "00-\xff"),))))
    assert (made.id, made.key, made.is_result) == ("r/0/0", "r", True)
    assert dict(made.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"r/0/0",
        "ce_type": b"scribe.transcription.result.v1",
        "ce_source": b"/scribe",
        "ce_time": b"2025-10-09T08:53:20.000Z",
        "ce_subject": b"r",
        "content-type": b"application/json",
        "traceparent": b"00-\xff",
    }


def test_the_id_is_the_same_whatever_happened() -> None:
    assert outcome(finished()).id == outcome(finished(FAILED, submit_attempts=9, task_ids=())).id


def test_a_failure_says_what_went_wrong_and_where_the_request_lies() -> None:
    body = failure(finished(FAILED))
    assert (body.stage, body.code, body.provider_code) == (
        Stage.POLL,
        FailureCode.AUDIO_FORBIDDEN,
        "FILE_403_FORBIDDEN",
    )
    assert (body.task_id, body.file_index, body.file_count) == ("t1", 0, 1)
    assert body.origin is not None
    assert (body.origin.topic, body.origin.offset) == ("transcription.requests", 7)
    assert body.times.fetched_at is None
    assert not outcome(finished(FAILED)).is_result


@pytest.mark.parametrize(
    ("how", "url"), [("full", URL), ("no_query", "https://h.example/a.wav"), ("none", None)]
)
def test_a_failure_repeats_as_much_of_its_request_as_the_operator_allows(how: Any, url: str | None) -> None:
    request = failure(finished(FAILED), OutcomeRules(original_request=how)).original_request
    whole = {"request_id": "r", "file_urls": [url], "model": "fun-asr", "metadata": {"n": 1}}
    assert request == (whole if url else None)


def test_a_repeated_request_has_its_options_and_no_empty_parts() -> None:
    plain = finished(FAILED, request=request(options={"language_hints": ["en"]}, metadata=None))
    assert failure(plain).original_request == {
        "request_id": "r",
        "file_urls": [URL],
        "model": "fun-asr",
        "options": {"language_hints": ["en"]},
    }


def test_a_text_that_the_model_cut_off_is_a_result_with_a_notice() -> None:
    cut = replace(transcript(), provider_extra={"finish_reason": "length"})
    assert [notice.code for notice in result(finished(ResultEnding(cut))).warnings] == [NoticeCode.TEXT_CUT]


def test_silence_is_a_result_with_a_notice() -> None:
    body = result(finished(ResultEnding(empty_transcript(), silent=True), fetch=FetchProgress()))
    assert [notice.code for notice in body.warnings] == [NoticeCode.NO_SPEECH]
    assert body.transcript.channels == ()
    assert body.times.fetched_at is None


def test_options_with_surprising_effects_cause_a_warning() -> None:
    body = result(finished(request=request(options={"language_hints": ["en", "zh"]})))
    assert len(body.warnings) == 1


@pytest.mark.parametrize(
    ("task_files", "task_billed", "ending", "billed"),
    [
        (1, 9, ResultEnding(transcript()), 9),
        (1, 9, FAILED, 9),
        (1, None, FAILED, None),
        (0, None, FAILED, None),
        (3, None, ResultEnding(transcript()), None),
        (3, 30, ResultEnding(transcript()), 3),
        (3, 30, FAILED, 0),
    ],
)
def test_a_file_costs_what_its_task_costs_or_its_own_speech(
    task_files: int, task_billed: int | None, ending: ResultEnding | FailureEnding, billed: int | None
) -> None:
    ended = finished(ending, task_files=task_files, task_end=TaskEnd(billed_seconds=task_billed))
    assert billed_seconds(ended) == billed


def test_a_share_of_a_bill_is_called_an_estimate() -> None:
    assert result(finished(task_files=3)).usage.estimated


WANTED = request(formats=(OutputFormat.SRT, OutputFormat.TEXT))


def test_a_result_carries_the_renderings_that_were_asked_for() -> None:
    assert result(finished(request=WANTED)).renderings == {
        "srt": "1\n00:00:00,000 --> 00:00:03,000\nHello.\n",
        "text": "Hello.\n",
    }
    assert result(finished()).renderings is None


def test_renderings_that_were_made_where_the_transcript_was_read_are_not_made_again() -> None:
    ending = ResultEnding(transcript(), renderings={"text": "made before"})
    assert result(finished(ending, request=WANTED)).renderings == {"text": "made before"}


def test_a_rendering_that_needs_times_is_absent_where_there_are_none_and_a_notice_says_so() -> None:
    untimed = Transcript(AudioProperties(), (Channel(0, "Hello."),))
    body = result(finished(ResultEnding(untimed), request=request(formats=tuple(OutputFormat))))
    assert body.renderings == {"text": "Hello.\n"}
    [notice] = body.warnings
    assert notice.code == NoticeCode.NO_TIMES
    assert notice.message == "The model gave no usable times for this file, so there is no srt and no vtt."


def read_channel(**channel: JsonValue) -> Transcript:
    return normalise({"transcripts": [channel]}, Family.FUN_ASR)


HEARD: dict[str, JsonValue] = {"begin_time": 0, "end_time": 900, "text": "One."}
UNTIMED: dict[str, JsonValue] = {"begin_time": None, "end_time": None, "text": "Two."}


@pytest.mark.parametrize(
    ("read", "codes"),
    [
        (read_channel(text="One.", sentences=[HEARD]), []),
        (read_channel(text="One. Two.", sentences=[HEARD]), ["sentences_incomplete"]),
        (read_channel(text="One.", sentences=[{**HEARD, "text": None}]), ["sentences_incomplete"]),
        (read_channel(text="One. Two.", sentences=[HEARD, UNTIMED]), ["times_incomplete"]),
        (read_channel(text="Two.", sentences=[{**UNTIMED, "end_time": 9}]), ["times_incomplete"]),
        (
            read_channel(text="One. Two. 3", sentences=[HEARD, UNTIMED]),
            ["sentences_incomplete", "times_incomplete"],
        ),
        (read_channel(text="One. One.", sentences=[{**HEARD, "end_time": 0}] * 2), ["no_times"]),
        (read_channel(text="Two.", sentences=[UNTIMED]), ["no_times"]),
    ],
)
def test_a_transcript_that_lacks_text_or_times_says_so(read: Transcript, codes: list[str]) -> None:
    body = result(finished(ResultEnding(read), request=request(formats=tuple(OutputFormat))))
    assert [notice.code for notice in body.warnings] == codes
    assert set(codes) <= {code.value for code in NoticeCode}
    assert all("One" not in notice.message for notice in body.warnings)


def test_silence_has_the_renderings_that_were_asked_for() -> None:
    body = result(finished(ResultEnding(empty_transcript(), silent=True), request=WANTED))
    assert body.renderings == {"srt": "", "text": ""}
    assert [notice.code for notice in body.warnings] == [NoticeCode.NO_SPEECH]


def test_a_failure_has_no_renderings_but_asks_for_them_again() -> None:
    body = failure(finished(FAILED, request=WANTED))
    assert "renderings" not in json.loads(body.to_bytes())
    assert (body.original_request or {})["output"] == {"formats": ["srt", "text"]}


def refused(value: bytes | None, request_id: str | None = None, rules: OutcomeRules | None = None) -> Outcome:
    """The outcome of a record that became no job."""
    error = InvalidRecord(FailureCode.INVALID_JSON, "no JSON", request_id)
    return record_failure(record(7, value), error, NOW_MS, rules or OutcomeRules())


def test_an_unreadable_record_is_called_by_its_place_and_keeps_its_bytes() -> None:
    made = refused(b"\xff{")
    assert (made.id, made.key) == ("transcription.requests/0/7", "transcription.requests/0/7")
    assert isinstance(made.body, Failure)
    assert base64.b64decode(made.body.raw or "") == b"\xff{"
    assert (made.body.raw_bytes, made.body.stage) == (2, Stage.DECODE)


def test_a_record_that_names_its_request_is_keyed_by_it() -> None:
    made = refused(b"{}", "r")
    assert (made.id, made.key) == ("transcription.requests/0/7", "r")
    assert dict(made.headers)["ce_subject"] == b"r"
    assert isinstance(made.body, Failure)
    assert made.body.stage is Stage.ACCEPT


@pytest.mark.parametrize("how", ["no_query", "none"])
def test_bytes_that_may_hold_a_query_are_kept_only_in_full(how: Any) -> None:
    body = refused(b"x", rules=OutcomeRules(original_request=how)).body
    assert isinstance(body, Failure)
    assert (body.raw, body.raw_bytes) == (None, 1)


def forms(made: Outcome) -> list[Outcome]:
    """The outcome and all that it can be shrunk to."""
    found: list[Outcome] = [made]
    while (reduced := shrink(found[-1])) is not None:
        found.append(reduced)
        assert len(found) < 10
    return found


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.none() | st.lists(st.builds(Word, st.just(0), st.just(1), TEXTS), min_size=1, max_size=3).map(
    tuple
)
EXTRAS = st.none() | st.just({"more": "of it"})
SENTENCES = st.none() | st.lists(
    st.builds(Sentence, st.just(1), st.just(0), st.just(9), TEXTS, words=WORDS, provider_extra=EXTRAS),
    min_size=1,
    max_size=3,
).map(tuple)
CHANNELS = st.builds(Channel, st.just(0), TEXTS, TEXTS, st.just(9), SENTENCES, EXTRAS)
TRANSCRIPTS = st.builds(
    Transcript, st.builds(AudioProperties, provider_extra=EXTRAS), st.lists(CHANNELS, max_size=3).map(tuple)
)


@given(TRANSCRIPTS, st.booleans(), st.sampled_from([(), tuple(OutputFormat)]))
def test_a_result_gets_smaller_until_it_is_a_failure_without_anything(
    made_of: Transcript, sums: bool, formats: tuple[OutputFormat, ...]
) -> None:
    ended = finished(ResultEnding(made_of), request=request(formats=formats))
    found = forms(outcome(ended, SUMMARY if sums else None))
    sizes = [len(form.body.to_bytes()) for form in found if form.is_result]
    assert sizes == sorted(set(sizes), reverse=True)
    assert [form.id for form in found] == ["r/0/0"] * len(found)
    for form in found:
        assert dict(form.headers)["ce_type"].decode().split(".")[2] == (
            "result" if form.is_result else "failure"
        )
    last = found[-1].body
    assert isinstance(last, Failure)
    assert (last.code, last.original_request, last.metadata) == (FailureCode.RESULT_TOO_LARGE, None, None)
    assert last.task_id == "t1"


def test_a_whole_transcript_loses_words_then_sentences_and_says_so() -> None:
    found = forms(outcome(finished(), SUMMARY))
    bodies = [form.body for form in found]
    assert [body.omitted for body in bodies if isinstance(body, Result)] == [
        (),
        ("words",),
        ("words", "sentences"),
    ]
    assert [body.transcript.channels[0].text for body in bodies if isinstance(body, Result)] == ["Hello."] * 3
    # The request's metadata goes last.
    assert [body.metadata for body in bodies] == [{"n": 1}] * 4 + [None]


def test_renderings_go_after_the_words_and_before_the_sentences() -> None:
    found = forms(outcome(finished(request=WANTED)))
    results = [form.body for form in found if isinstance(form.body, Result)]
    assert [body.omitted for body in results] == [
        (),
        ("words",),
        ("words", "renderings"),
        ("words", "renderings", "sentences"),
    ]
    assert [body.renderings is not None for body in results] == [True, True, False, False]
    assert len(found) > len(results), "then comes a failure, which has none"


def test_renderings_that_are_shorter_than_their_name_are_not_left_out() -> None:
    silent = finished(ResultEnding(empty_transcript()), request=WANTED)
    [whole, *rest] = forms(outcome(silent))
    assert isinstance(whole.body, Result)
    assert not any(isinstance(form.body, Result) for form in rest)


def test_a_form_that_would_leave_out_nothing_is_passed_over() -> None:
    plain = Transcript(AudioProperties(), (Channel(0, "a", sentences=(Sentence(1, 0, 9, "a"),)),))
    found = forms(outcome(finished(ResultEnding(plain))))
    assert [form.body.omitted for form in found if isinstance(form.body, Result)] == [(), ("sentences",)]


def test_a_result_that_fits_in_no_form_is_one_more_failed() -> None:
    found = forms(outcome(finished(), SUMMARY))
    assert found[-1].body.request_summary == RequestSummary(succeeded=0, failed=1, billed_seconds=9)
    assert forms(outcome(finished()))[-1].body.request_summary is None


@given(st.binary(max_size=200) | st.none())
def test_a_failure_of_a_record_loses_its_bytes_and_keeps_their_digest(value: bytes | None) -> None:
    found = forms(refused(value))
    assert len(found) == (2 if value is not None else 1)
    body = found[-1].body
    assert isinstance(body, Failure)
    assert body.raw is None
    assert (body.raw_sha256 is None) == (value is None)


def test_a_failure_of_a_job_loses_its_request() -> None:
    found = forms(outcome(finished(FAILED)))
    assert len(found) == 2
    assert len(found[1].body.to_bytes()) < len(found[0].body.to_bytes())
