"""The script language and what the scripted engine makes of it."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.recording import Heard, Recording, Unusable
from sandbox.simulator.script import ScriptError, read_script
from sandbox.simulator.scripted import ScriptedEngine
from sandbox.simulator.tasks import Submission, Task, TaskFile

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def _begin(*file_urls: str, parameters: dict[str, object] | None = None) -> Task:
    submission = Submission("fun-asr", file_urls, parameters or {})
    files = [TaskFile(number, file_url) for number, file_url in enumerate(file_urls, 1)]
    task = Task("account", "1", submission, 1000.0, files)
    ScriptedEngine(task_limit_seconds=10_800).begin(task)
    return task


def _url(name: str = "a.wav", **keys: object) -> str:
    return f"https://media.example.org/{name}?{urlencode(keys)}"


def _recording(task: Task, position: int = 0) -> Recording:
    outcome = task.files[position].outcome
    assert isinstance(outcome, Heard)
    return outcome.recording()


def test_a_url_without_keys_succeeds_soon_and_says_its_own_path() -> None:
    task = _begin("https://media.example.org/calls/call-17.wav")
    assert [task.state(1000.0 + passed) for passed in (0, 0.19, 0.21)] == ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert _recording(task).channels[0].text == "Transcript of calls/call-17.wav."


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=2, max_size=5, unique=True))
def test_two_files_never_say_the_same_unless_the_test_wrote_it(names: list[str]) -> None:
    task = _begin(
        *(_url(f"{name}.wav", words=3, channels=2) for name in names), parameters={"channel_id": [0, 1]}
    )
    texts = [
        channel.text for position in range(len(names)) for channel in _recording(task, position).channels
    ]
    assert len(set(texts)) == 2 * len(names)


@given(
    ANY_TEXT,
    st.floats(0.001, 50_000),
    st.integers(1, 3),
    st.lists(st.integers(0, 4), min_size=1, unique=True),
)
def test_every_text_becomes_words_in_order_within_the_file(
    text: str, duration: float, channels: int, asked: list[int]
) -> None:
    url = _url(text=text, duration=duration, channels=channels)
    task = _begin(url, parameters={"channel_id": asked})
    recording = _recording(task)
    assert [channel.channel_id for channel in recording.channels] == asked
    for channel in recording.channels:
        times = [
            time
            for sentence in channel.sentences
            for word in sentence.words
            for time in (word.begin_ms, word.end_ms)
        ]
        assert times == sorted(times)
        assert all(0 <= time <= recording.duration_ms for time in times)
        if channel.channel_id >= channels:
            assert channel.sentences == ()
    assert recording.channels[0].channel_id != 0 or recording.channels[0].text.split() == text.split()
    assert task.billed_seconds() == -(-sum(channel.speech_ms for channel in recording.channels) // 1000)


@given(st.integers(0, 2000))
def test_a_number_of_words_gives_that_many(count: int) -> None:
    channel = _recording(_begin(_url(words=count))).channels[0]
    assert sum(len(sentence.words) for sentence in channel.sentences) == count


def test_the_slowest_file_decides_when_a_task_starts_ends_and_is_seen() -> None:
    task = _begin(_url("a", pending=2, run=1), _url("b", run=5, hidden=1))
    seen = {passed: task.state(1000.0 + passed) for passed in (0, 1.9, 2, 6.9, 7)}
    assert seen == {0: "PENDING", 1.9: "PENDING", 2: "RUNNING", 6.9: "RUNNING", 7: "SUCCEEDED"}
    assert [task.is_visible(1000.0 + passed, 86_400) for passed in (0.9, 1)] == [False, True]


def test_failures_are_those_that_the_script_names() -> None:
    task = _begin(
        _url("a", fail="FILE_404_NOT_FOUND"), _url("b", silence=1), _url("c", fail="X", message="why")
    )
    assert [file.outcome for file in task.files] == [
        Unusable("FILE_404_NOT_FOUND", "FILE_404_NOT_FOUND"),
        Unusable("SUCCESS_WITH_NO_VALID_FRAGMENT", "SUCCESS_WITH_NO_VALID_FRAGMENT"),
        Unusable("X", "why"),
    ]


@pytest.mark.parametrize("url", ["https://media.example.org/a b.wav", "https://media.example.org/é.wav"])
def test_a_url_that_is_not_percent_encoded_cannot_be_downloaded(url: str) -> None:
    assert _begin(url).files[0].outcome == Unusable("FILE_DOWNLOAD_FAILED", "FILE_DOWNLOAD_FAILED")


def test_a_task_can_fail_whole_with_or_without_its_results() -> None:
    plain = _begin(_url("a", task_fail="InternalError"), _url("b"))
    assert (plain.state(2000), plain.failure, list(plain.heard())) == (
        "FAILED",
        Unusable("InternalError", "InternalError"),
        [],
    )
    kept = _begin(_url("a", task_fail="InternalError", keep_results=1), _url("b", fail="X"))
    assert (kept.state(2000), len(list(kept.heard()))) == ("FAILED", 1)


@pytest.mark.parametrize(
    ("script", "state", "visible"),
    [
        ("PENDING_FOREVER", "PENDING", True),
        ("RUNNING_FOREVER", "RUNNING", True),
        ("SUSPENDED", "SUSPENDED", True),
        ("UNKNOWN", "UNKNOWN", False),
    ],
)
def test_a_stuck_task_stays_as_it_is(script: str, state: str, visible: bool) -> None:
    task = _begin(_url(status=script))
    for passed in (1, 10**6):
        assert (task.state(1000.0 + passed), task.is_visible(1000.0 + passed, 86_400)) == (state, visible)


def test_a_task_without_an_outcome_for_three_hours_times_out() -> None:
    task = _begin(_url(run=20_000))
    assert task.state(1000.0 + 10_799) == "RUNNING"
    assert task.state(1000.0 + 10_800) == "FAILED"
    assert task.failure is not None
    assert task.failure.code == "InternalError.Timeout"


def test_speakers_take_turns_only_with_diarization_of_one_channel() -> None:
    url = _url(text="One. Two. Three.", speakers=2, channels=2)
    asked = _begin(url, parameters={"diarization_enabled": True})
    assert [sentence.speaker_id for sentence in _recording(asked).channels[0].sentences] == [0, 1, 0]
    for parameters in ({}, {"diarization_enabled": True, "channel_id": [0, 1]}):
        task = _begin(url, parameters=parameters)
        assert {sentence.speaker_id for sentence in _recording(task).channels[0].sentences} == {None}


@given(ANY_TEXT)
def test_unknown_keys_and_any_path_are_harmless(text: str) -> None:
    script = read_script(f"https://media.example.org/{quote(text)}?Signature={quote(text)}&Expires=1")
    assert (script.fail, script.text, script.run_seconds) == (None, None, 0.2)


@pytest.mark.parametrize(
    "keys",
    [{"run": "soon"}, {"words": -1}, {"silence": "yes"}, {"status": "DONE"}, {"channels": 0}, {"run": "nan"}],
)
def test_a_key_with_a_senseless_value_is_named(keys: dict[str, str | int]) -> None:
    [name] = keys
    with pytest.raises(ScriptError, match=name):
        read_script(f"https://media.example.org/a.wav?{urlencode(keys)}")
