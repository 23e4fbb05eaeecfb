"""The command line without a broker: help, usage, what becomes of errors, and outcomes shown to people."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from typer.main import get_command
from typer.testing import CliRunner, Result

from service import __version__
from service.app import process
from service.cli import client, outcome_text, output
from service.cli.commands import app as scribe
from service.cli.output import Form
from service.contract.output_formats import OutputFormat
from service.core.job.identity import Position
from service.core.job.request_record import Record
from service.errors import ClusterError, ConfigError, FailureCode, InvalidRecord
from service.observability.log import Secrets
from service.settings import Settings

ENVIRON = {"SCRIBE_PROVIDER__API_KEY": "sk-canary12345", "SCRIBE_KAFKA__GROUP_ID": "mine"}
COMMANDS = (
    "run",
    "submit",
    "cancel",
    "watch",
    "topics",
    "schemas",
    "hotwords",
    "doctor",
    "status",
    "jobs",
    "replay",
    "bundle",
)
GROUPS = {"hotwords": ("list", "delete"), "jobs": ("show",)}


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(scribe, arguments, env=environ, prog_name="scribe")


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """What `run` configures belongs to the whole process: put it back."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers, root.level
    yield
    root.handlers, sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class TestHelp:
    def test_the_overview_says_each_command_in_a_whole_sentence(self) -> None:
        done = run("--help")
        assert done.exit_code == 0
        for command in COMMANDS:
            [line] = [line for line in done.output.splitlines() if line.strip().startswith(f"{command} ")]
            assert line.endswith("."), line
            assert not line.endswith("..."), "cut off"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_option_of_each_command_is_explained_within_80_columns(self, command: str) -> None:
        done = run(command, "--help")
        assert done.exit_code == 0
        assert done.output.startswith(f"Usage: scribe {command}")
        assert all(len(line) <= 80 for line in done.output.splitlines())
        for name, parameter in _options(command).items():
            assert (parameter or "").endswith("."), name

    @pytest.mark.parametrize(("group", "command"), [(g, c) for g, names in GROUPS.items() for c in names])
    def test_a_command_of_a_group_is_explained_likewise(self, group: str, command: str) -> None:
        done = run(group, command, "--help")
        assert done.exit_code == 0
        assert done.output.startswith(f"Usage: scribe {group} {command}")
        assert all(len(line) <= 80 for line in done.output.splitlines())

    def test_no_command_shows_the_help(self) -> None:
        assert "Commands:" in run().output

    def test_the_version_is_one_line(self) -> None:
        assert run("--version").output == f"scribe {__version__}\n"

    def test_a_shell_may_complete_commands_and_options(self) -> None:
        asked = {"_SCRIBE_COMPLETE": "complete_bash", "COMP_WORDS": "scribe watch --fa", "COMP_CWORD": "2"}
        done = subprocess.run(
            [sys.executable, "-m", "service"],
            env={"PATH": os.defpath, **asked},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("--failures\n", "")


def _options(command: str) -> dict[str, str | None]:
    found = get_command(scribe).commands[command]  # type: ignore[attr-defined]
    return {parameter.name: parameter.help for parameter in found.params if parameter.name != "help"}


class TestErrors:
    @pytest.mark.parametrize("arguments", [("run",), ("submit", "https://h/a"), ("watch",), ("topics",)])
    def test_wrong_settings_are_one_sentence_and_exit_code_78(self, arguments: tuple[str, ...]) -> None:
        done = run(*arguments, SCRIBE_HTTP__PORT="many")
        assert done.exit_code == 78
        assert done.stderr.startswith("scribe: SCRIBE_HTTP__PORT must be a valid integer")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""

    def test_a_missing_key_stops_run_before_anything_is_started(self) -> None:
        done = run("run", DASHSCOPE_API_KEY="")
        assert done.exit_code == 78
        assert "the provider's API key is missing" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("submit",), "Missing argument 'URL|FILE'"),
            (("submit", "https://h/a", "--option", "novalue"), "--option: write it as name=value"),
            (("submit", "https://h/a", "--option", "=5"), "--option: write it as name=value"),
            (
                ("submit", "https://h/a", "--metadata", "a=1", "--metadata", "a=2"),
                "--metadata: a is given twice",
            ),
            (("submit", "https://h/a", "--timeout", "0"), "--timeout"),
            (("submit", "https://h/a", "--file-indexes", "0,one"), "--file-indexes: write it as 0,2,5"),
            (("submit", "https://h/a", "--header", "novalue"), "--header: write it as name=value"),
            (("submit", "https://h/a", "--format", "srt"), "--format: it needs --wait"),
            (("submit", "nowhere.wav"), "nowhere.wav is neither a URL (https://...) nor a file here"),
            (("submit", "/dev/null"), "/dev/null is neither a URL"),
            (("submit", "pyproject.toml", "--file-indexes", "0"), "name only the local files to transcribe"),
            (("submit", "https://h/a", "--wait", "--format", "srt", "-o", "json"), "--format or --output"),
            (("submit", "https://h/a", "--rendering", "docx"), "--rendering"),
            (("submit", "https://h/a", "--metadata", '{"a": 1'), "--metadata: write it as name=value, or as"),
            (("submit", "https://h/a", "--metadata", '{"a": 1}', "--metadata", "a=2"), "a is given twice"),
            (("watch", "--format", "docx"), "--format"),
            (("watch", "--format", "srt", "-o", "json"), "choose --format or --output json"),
            (("watch", "--since", "yesterday"), "--since: yesterday is no time with a zone"),
            (("watch", "--since", "60", "--from-beginning"), "--from-beginning: it is before any time"),
            (("cancel",), "Missing argument 'REQUEST_ID'"),
            (("schemas", "nonsense"), "nonsense"),
            (("fly",), "No such command 'fly'"),
        ],
    )
    def test_wrong_usage_is_named_with_exit_code_2(self, arguments: tuple[str, ...], reason: str) -> None:
        done = run(*arguments)
        assert done.exit_code == 2
        assert reason in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("https://h/a", "--model", "gpt"), "unknown `model`; known are"),
            (
                ("https://h/a", "--option", "prompt=hi"),
                "`prompt` is not an option of fun-asr; models that have it: qwen3.5-omni-plus",
            ),
            (("https://h/a", "--id", "no blanks"), "`request_id` must match"),
            (("https://h/a", "--deadline", "tomorrow"), "`deadline` must be an RFC 3339 time"),
            (("https://h/a", "--ttl-seconds", "0"), "`ttl_seconds` must be at least 1"),
            (("https://h/a b",), "must be percent-encoded"),
        ],
    )
    def test_a_request_that_the_service_would_refuse_is_refused_at_once(
        self, arguments: tuple[str, ...], reason: str
    ) -> None:
        done = run("submit", *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("scribe: ")
        assert reason in done.stderr


@pytest.mark.usefixtures("_own_logging")
class TestRun:
    def test_run_passes_the_settings_and_returns_the_exit_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Settings] = []

        def service(settings: Settings, _secrets: Secrets) -> int:
            seen.append(settings)
            return 3

        monkeypatch.setattr(process, "run", service)
        assert run("run", **ENVIRON).exit_code == 3
        assert seen[0].kafka.group_id == "mine"

    @pytest.mark.parametrize(
        ("error", "code"), [(ConfigError("no Kafka"), 78), (ClusterError("no Kafka"), 1)]
    )
    @pytest.mark.parametrize("depth", [0, 1, 2])
    def test_what_has_a_name_is_a_sentence_however_deep_among_tasks_it_was_raised(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, depth: int
    ) -> None:
        def service(_settings: Settings, _secrets: Secrets) -> int:
            raised = error
            for _ in range(depth):
                raised = ExceptionGroup("tasks", [raised])
            raise raised

        monkeypatch.setattr(process, "run", service)
        done = run("run", **ENVIRON)
        assert done.exit_code == code
        assert done.stderr == "scribe: no Kafka\n"

    def test_a_crash_is_a_log_line_without_secrets_and_exit_code_1(self) -> None:
        crash = "raise ExceptionGroup('tasks', [ValueError('sk-canary12345 Bearer canary'), OSError()])"
        setup = "from service.app import process\nfrom service.cli.commands import main\n"
        code = f"{setup}def run(*_): {crash}\nprocess.run = run\nmain()"
        done = subprocess.run(
            [sys.executable, "-c", code, "run"],
            env={"PATH": os.defpath, **ENVIRON},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert json.loads(line)["event"] == "service_crashed"
        assert "ValueError" in json.loads(line)["exception"]
        assert "canary" not in line

    def test_ctrl_c_is_exit_code_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def service(_settings: Settings, _secrets: Secrets) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(process, "run", service)
        done = run("run", **ENVIRON)
        assert done.exit_code == 130
        assert "Traceback" not in done.output


class TestSchemas:
    def test_each_schema_is_printed_as_it_lies_in_the_repository(self) -> None:
        for name in ("request", "result", "failure"):
            assert json.loads(run("schemas", name).output)["title"] == f"scribe.transcription.{name}.v1"

    def test_without_a_name_all_three_are_printed(self) -> None:
        assert set(json.loads(run("schemas").output)) == {"request", "result", "failure"}


class TestRequests:
    def test_values_that_are_json_count_as_such_and_others_as_text(self) -> None:
        words = ['a=["en"]', "b=true", "c=5", "d=five=5", 'e="5"', "f=", "g=NaN", "h={bad", "i=007", "j=null"]
        assert client.pairs(words) == {
            "a": ["en"],
            "b": True,
            "c": 5,
            "d": "five=5",
            "e": "5",
            "f": "",
            "g": "NaN",
            "h": "{bad",
            "i": "007",
            "j": None,
        }

    @given(st.text(max_size=40))
    def test_any_text_becomes_a_value_or_is_refused(self, text: str) -> None:
        try:
            found = client.pairs([f"name={text}"])
        except ValueError:
            pytest.fail("any text may stand behind the sign")
        assert set(found) == {"name"}

    def test_a_deadline_is_seconds_or_a_time(self) -> None:
        assert client.deadline(None) == {}
        assert client.deadline("600") == {"ttl_seconds": 600}
        assert client.deadline("2026-03-02T10:15:00Z") == {"deadline": "2026-03-02T10:15:00Z"}
        assert client.deadline("-5") == {"deadline": "-5"}

    def test_a_request_has_an_id_of_its_own_where_none_is_given(self) -> None:
        fields: dict[str, JsonValue] = {"file_urls": ["https://h/a"], "model": "fun-asr", "request_id": None}
        first, second = client.new_request(fields), client.new_request(fields)
        assert first["request_id"] != second["request_id"]

    def test_half_a_surrogate_pair_from_the_terminal_is_refused(self) -> None:
        fields: dict[str, JsonValue] = {
            "file_urls": ["https://h/a"],
            "model": "fun-asr",
            "metadata": {"name": "\udcff"},
        }
        with pytest.raises(InvalidRecord) as caught:
            client.new_request(fields)
        assert caught.value.code is FailureCode.INVALID_JSON


def outcome(**fields: object) -> outcome_text.OutcomeView:
    read = outcome_text.read_outcome(
        json.dumps({"request_id": "r", "file_index": 0, "file_url": "https://h/a"} | fields).encode()
    )
    assert read is not None
    return read


def transcript(*channels: Mapping[str, object]) -> dict[str, object]:
    return {"audio": {}, "channels": list(channels)}


SPOKEN = {
    "begin_ms": 0,
    "end_ms": 20_000,
    "text": "One. Two.",
    "words": [
        {"begin_ms": 0, "end_ms": 900, "text": "One", "punctuation": "."},
        {"begin_ms": 19_000, "end_ms": 20_000, "text": "Two", "confidence": 1},
    ],
}


class TestForms:
    def test_a_rendering_takes_its_times_from_the_words(self) -> None:
        seen = outcome(transcript=transcript({"channel_id": 0, "text": "x", "sentences": [SPOKEN]}))
        assert outcome_text.rendering(seen, OutputFormat.SRT) == (
            "1\n00:00:00,000 --> 00:00:01,000\nOne.\n\n2\n00:00:19,000 --> 00:00:20,000\nTwo.\n"
        )

    def test_a_failure_and_a_transcript_without_times_have_no_captions(self) -> None:
        untimed = outcome(transcript=transcript({"channel_id": 0, "text": "Hi.", "sentences": None}))
        assert outcome_text.rendering(untimed, OutputFormat.VTT) is None
        assert outcome_text.rendering(untimed, OutputFormat.TEXT) == "Hi.\n"
        assert outcome_text.rendering(outcome(code="cancelled"), OutputFormat.TEXT) is None

    @pytest.mark.parametrize("form", [None, *Form])
    @pytest.mark.parametrize("has_times", [True, False])
    def test_an_outcome_without_the_requested_form_is_reported_on_standard_error(
        self, capsys: pytest.CaptureFixture[str], form: Form | None, has_times: bool
    ) -> None:
        said = {"channel_id": 0, "text": "Hi.", "sentences": [SPOKEN] if has_times else None}
        value = json.dumps({"request_id": "r", "file_index": 0, "transcript": transcript(said)}).encode()
        record = Record(Position("results", 0, 0, 0), b"r", value)
        seen = outcome_text.read_outcome(value)
        assert seen is not None
        can_be = has_times or form not in (Form.SRT, Form.VTT)
        assert output.show(record, seen, form) is can_be
        shown = capsys.readouterr()
        assert bool(shown.out) is can_be
        assert ("there is no " in shown.err) is not can_be

    @pytest.mark.parametrize("form", [None, *Form])
    def test_a_failure_is_never_shown_as_asked(
        self, capsys: pytest.CaptureFixture[str], form: Form | None
    ) -> None:
        value = b'{"request_id": "r", "file_index": 0, "code": "cancelled"}'
        record = Record(Position("failures", 0, 0, 0), b"r", value)
        assert output.show(record, outcome(code="cancelled"), form) is False
        shown = capsys.readouterr()
        assert shown.out == (value.decode() + "\n" if form is Form.JSON else "")
        assert ("failed: cancelled" in shown.err) is (form is not Form.JSON)


class TestShowing:
    def test_times_are_hours_minutes_seconds_and_milliseconds(self) -> None:
        assert outcome_text.clock_time(0) == "00:00:00.000"
        assert outcome_text.clock_time(3_723_004) == "01:02:03.004"
        assert outcome_text.clock_time(100 * 3_600_000) == "100:00:00.000"

    def test_several_channels_are_distinguished(self) -> None:
        said = [{"begin_ms": 0, "end_ms": 1000, "text": "Hi."}]
        channels = [{"channel_id": number, "text": "Hi.", "sentences": said} for number in (0, 1)]
        lines = list(outcome_text.lines(outcome(transcript=transcript(*channels))))
        assert lines[1:] == [
            "  channel 0",
            "  00:00:00.000 - 00:00:01.000  Hi.",
            "  channel 1",
            "  00:00:00.000 - 00:00:01.000  Hi.",
        ]

    def test_without_sentences_the_text_is_shown(self) -> None:
        lines = list(
            outcome_text.lines(
                outcome(transcript=transcript({"channel_id": 0, "text": "Hi.", "sentences": None}))
            )
        )
        assert lines[1:] == ["  Hi."]

    def test_silence_says_so(self) -> None:
        assert list(outcome_text.lines(outcome(transcript=transcript())))[1:] == ["  (no speech)"]

    def test_warnings_follow_the_transcript(self) -> None:
        lines = outcome_text.lines(
            outcome(transcript=transcript(), warnings=[{"code": "x", "message": "careful"}])
        )
        assert list(lines)[-1] == "  note: careful"

    def test_a_failure_without_a_request_id_can_be_shown(self) -> None:
        lines = list(
            outcome_text.lines(outcome(request_id=None, file_index=None, code="invalid_json", message="bad"))
        )
        assert lines == ["a record without a readable request_id", "  failed: invalid_json: bad"]

    def test_fields_of_later_versions_are_ignored(self) -> None:
        assert outcome(transcript=transcript(), new_field={"a": 1}).transcript is not None

    @pytest.mark.parametrize(
        "value", [None, b"", b"\xff", b"[]", b'{"file_index": "one"}', b'{"transcript": 5}']
    )
    def test_what_is_no_outcome_is_none(self, value: bytes | None) -> None:
        assert outcome_text.read_outcome(value) is None

    @given(st.text())
    def test_no_text_of_others_can_drive_the_terminal(self, text: str) -> None:
        for line in outcome_text.lines(
            outcome(code=text, message=f"\x1b[2J{text}", file_url=f"\n{text}\x9b")
        ):
            assert not set(line) & {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029"}
