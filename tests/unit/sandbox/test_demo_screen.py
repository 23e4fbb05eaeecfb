"""How outcomes look on the screen, and where the log goes."""

import io
import logging
from pathlib import Path

import pytest

from sandbox.demo.advice import advice
from sandbox.demo.log import NAME, log_file
from sandbox.demo.screen import Screen, failure_lines, span, transcript_lines
from service.errors import FailureCode


def sentence(begin_ms: int, text: str) -> dict[str, object]:
    return {"begin_ms": begin_ms, "end_ms": begin_ms + 1000, "text": text}


def channel(number: int, text: str, *sentences: dict[str, object]) -> dict[str, object]:
    return {"channel_id": number, "text": text, "sentences": list(sentences)}


def result(*channels: dict[str, object], warnings: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "transcript": {"channels": list(channels)},
        "warnings": [{"message": message} for message in warnings],
    }


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "shown"),
    [
        (500, 3200, "[0.5 - 3.2]"),
        (0, 59_949, "[0.0 - 59.9]"),
        (59_950, 60_000, "[1:00.0 - 1:00.0]"),
        (62_500, 3_600_000, "[1:02.5 - 60:00.0]"),
    ],
)
def test_times_are_seconds_and_from_a_minute_on_minutes(begin_ms: int, end_ms: int, shown: str) -> None:
    assert span(begin_ms, end_ms) == shown


def test_each_sentence_is_a_line_with_its_times() -> None:
    body = result(channel(0, "One. Two.", sentence(0, "One. "), sentence(1500, "Two.")))
    assert list(transcript_lines(body)) == [("[0.0 - 1.0]", "One."), ("[1.5 - 2.5]", "Two.")]


def test_several_channels_are_named_and_text_without_sentences_is_shown() -> None:
    alone = {"channel_id": 1, "text": "All of it.", "sentences": None}
    body = result(channel(0, "One.", sentence(0, "One.")), alone)
    assert list(transcript_lines(body)) == [
        ("", "channel 0"),
        ("[0.0 - 1.0]", "One."),
        ("", "channel 1"),
        ("", "All of it."),
    ]


def test_silence_is_said_by_its_warning() -> None:
    assert list(transcript_lines(result(warnings=("nobody speaks",)))) == [("", "note: nobody speaks")]


def test_a_failure_tells_code_message_and_advice() -> None:
    body = {"code": "audio_not_found", "provider_code": "FILE_404_NOT_FOUND", "message": "gone"}
    assert list(failure_lines(body)) == [
        ("", "failed: audio_not_found (FILE_404_NOT_FOUND): gone"),
        ("", "The file's origin has no such file: put it there, then replay the request."),
    ]
    bare = {"code": "task_lost", "provider_code": None, "message": "gone"}
    assert next(failure_lines(bare)) == ("", "failed: task_lost: gone")
    mute = {"code": "audio_unusable", "provider_code": "X", "message": "X"}
    assert next(failure_lines(mute)) == ("", "failed: audio_unusable (X)")


def test_there_is_advice_for_every_code_and_a_pointer_for_those_of_later_versions() -> None:
    pointer = advice("a_code_of_tomorrow")
    assert "docs/errors.md" in pointer
    said = [advice(code) for code in FailureCode]
    assert pointer not in said
    assert len(set(said)) == len(FailureCode)


def test_what_others_wrote_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.show("\x1b[31ma\nb[bold]:smile:.wav", [("[0.0 - 1.0]", "\x1b]0;title\x07[link=x]text[/]")])
    screen.complain("\x1b[2J")
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert shown.out == " [31ma b[bold]:smile:.wav\n  [0.0 - 1.0]  ]0;title [link=x]text[/]\n"


def test_a_line_that_is_not_for_a_terminal_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show("a.wav", [("[0.0 - 9.0]", "word " * 100)])
    assert capsys.readouterr().out.count("\n") == 2


def test_signs_that_the_terminal_does_not_know_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    Screen().show("caf\u00e9.wav", [("", "na\u00efve")])
    assert written.getvalue() == b"caf?.wav\n  na?ve\n"


def test_without_a_terminal_what_goes_on_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    screen = Screen()
    status = screen.working("Starting")
    for _ in range(100):
        now[0] += 0.5
        screen.progress(status, f"at {now[0]}")
    assert capsys.readouterr().out == "at 115.0\nat 130.0\nat 145.0\n"


class TestLog:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def test_it_replaces_that_of_the_last_run_and_takes_what_libraries_say(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_text("old")
        with log_file() as path:
            assert path == tmp_path / NAME
            logging.getLogger("some.library").warning("%s is odd", "this")
        assert path.read_text() == "demo: WARNING some.library: this is odd\n"

    def test_two_runs_in_one_folder_write_two_logs(self) -> None:
        with log_file() as first, log_file() as second:
            first.write_text("kept")
            assert first != second
        assert first.read_text() == "kept"
        with log_file() as third:
            assert third == first

    def test_where_it_cannot_be_written_it_goes_to_the_temporary_folder(self, tmp_path: Path) -> None:
        (tmp_path / NAME).mkdir()
        with log_file() as path:
            assert path.name.startswith("scribe-demo-")
            assert path.is_file()
