"""What the demo says while a long file is being transcribed."""

import json
from pathlib import Path

import pytest

from sandbox.demo.progress import Progress
from sandbox.simulator.command import _print_heard

URL, OTHER = "http://127.0.0.1:1/token/a%20b.wav", "http://127.0.0.1:1/other/c.wav"


class Run:
    """A run whose log and clock are moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.touch()
        self.seconds = 50.0
        self.progress = Progress(self.log, {URL: "a b.wav", OTHER: "c.wav"}, lambda: self.seconds)

    def write(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)

    def hear(self, url: str, seconds: int, of: int) -> None:
        self.write(json.dumps({"heard": url, "seconds": seconds, "of": of}) + "\n")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_before_anything_is_heard_the_time_goes_on(run: Run) -> None:
    run.seconds += 75
    assert run.progress.words() == "Transcribing (0 of 2 done, 1:15)"


def test_a_long_file_says_how_much_of_it_is_heard(run: Run) -> None:
    run.write('{"event": "service_started"}\nnoise \x00\n')
    run.hear(URL, 15, 600)
    run.hear(URL, 200, 600)
    run.hear(OTHER, 30, 7200)
    run.hear("http://127.0.0.1:1/stranger", 1, 2)
    assert run.progress.words() == (
        "Transcribing (0 of 2 done, 0:00): a b.wav: 3:20 of 10:00 heard; c.wav: 0:30 of 120:00 heard"
    )


def test_a_file_that_is_done_is_not_spoken_of_any_more(run: Run) -> None:
    run.hear(URL, 200, 600)
    run.progress.finish(URL)
    assert run.progress.words() == "Transcribing (1 of 2 done, 0:00)"


def test_a_line_that_is_half_written_is_read_when_it_is_whole(run: Run) -> None:
    line = json.dumps({"heard": URL, "seconds": 20, "of": 60}) + "\n"
    run.write(line[:30])
    assert "heard" not in run.progress.words()
    run.write(line[30:])
    assert "a b.wav: 0:20 of 1:00 heard" in run.progress.words()


@pytest.mark.parametrize(
    "rest", ["", "1}", "[]}", f'"{URL}"}}', f'"{URL}", "seconds": "x"}}', f'"{URL}", "seconds": null}}']
)
def test_a_line_that_others_broke_is_passed_over(run: Run, rest: str) -> None:
    run.write('{"heard": ' + rest + "\n")
    assert run.progress.words() == "Transcribing (0 of 2 done, 0:00)"


def test_the_simulator_says_it_in_the_form_that_is_read_and_without_a_query(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_heard(f"{URL}?Signature=canary", 61.4, 120.0)
    said = capsys.readouterr().out
    assert "canary" not in said
    run.write(said)
    assert "a b.wav: 1:01 of 2:00 heard" in run.progress.words()
