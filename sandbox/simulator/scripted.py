"""The engine of tests: what happens to a task is written in its URLs. It knows the whole future of a
task at submit time and downloads nothing.
"""

from collections.abc import Sequence
from typing import Final

from sandbox.simulator.hearing import hear
from sandbox.simulator.recording import Channel, Heard, Outcome, Recording, Token, Unusable, sentences_of
from sandbox.simulator.script import STUCK_STATES, Script, read_script
from sandbox.simulator.tasks import Submission, Task, TaskFile

SILENT: Final = "SUCCESS_WITH_NO_VALID_FRAGMENT"
_MS_PER_WORD = 300


class ScriptedEngine:
    """Plans each task from the scripts of its files."""

    def __init__(self, task_limit_seconds: float) -> None:
        self._limit = task_limit_seconds

    def check(self, submission: Submission) -> None:
        """Raise ScriptError when a URL's script makes no sense."""
        for file_url in submission.file_urls:
            read_script(file_url)

    def begin(self, task: Task) -> None:
        """Write the task's times and outcomes: the slowest file decides when it leaves a state."""
        scripts = [read_script(file.file_url) for file in task.files]
        task.hidden_until = task.submitted_at + max(script.hidden_seconds for script in scripts)
        task.scheduled_at = task.submitted_at + max(script.pending_seconds for script in scripts)
        task.ended_at = task.scheduled_at + max(script.run_seconds for script in scripts)
        for file, script in zip(task.files, scripts, strict=True):
            file.outcome = _outcome(file, script, task.submission)
        self._write_status(task, scripts)
        _write_stuck_state(task, scripts)

    def _write_status(self, task: Task, scripts: Sequence[Script]) -> None:
        failing = next((script for script in scripts if script.task_fail), None)
        if failing is not None and failing.task_fail is not None:
            task.failure = Unusable(failing.task_fail, failing.message or failing.task_fail)
            task.keeps_results = failing.keep_results
        if (task.ended_at or 0.0) - task.submitted_at > self._limit:
            task.ended_at = task.submitted_at + self._limit
            task.failure = Unusable("InternalError.Timeout", "An internal timeout error has occured.")


def _write_stuck_state(task: Task, scripts: Sequence[Script]) -> None:
    stuck = next((script.status for script in scripts if script.status), None)
    task.stuck_state = STUCK_STATES[stuck] if stuck else None
    if task.stuck_state == "PENDING":
        task.scheduled_at = None


def _outcome(file: TaskFile, script: Script, submission: Submission) -> Outcome:
    if not file.has_encoded_url:
        return Unusable("FILE_DOWNLOAD_FAILED", "FILE_DOWNLOAD_FAILED")
    if file.lost:
        return Unusable(file.lost, file.lost)
    if script.fail:
        return Unusable(script.fail, script.message or script.fail)
    if script.silence:
        return Unusable(SILENT, SILENT, _duration_ms(script))
    if file.limit_bytes is not None and _size_bytes(file, script) > file.limit_bytes:
        return Unusable("FILE_TOO_LARGE", "FILE_TOO_LARGE")
    speech_ms = sum(_span(script, channel_id, submission)[2] for channel_id in submission.channel_ids())
    return Heard(speech_ms, lambda: _recording(script, submission))


def _size_bytes(file: TaskFile, script: Script) -> int:
    return script.size_bytes if script.size_bytes is not None else len(file.content or b"")


def _recording(script: Script, submission: Submission) -> Recording:
    speakers = script.speakers if submission.wants_speakers() else None
    channels = tuple(
        Channel(channel_id, sentences_of(_tokens(script, channel_id, submission), speakers))
        for channel_id in submission.channel_ids()
    )
    return Recording(
        audio_format=script.audio_format,
        sampling_rate=script.sampling_rate,
        duration_ms=_duration_ms(script),
        channels_in_file=script.channels,
        channels=channels,
        unknown_fields=script.unknown_fields,
        language=str(submission.asked("language") or script.language),
        emotions=script.emotions,
        finish_reason=script.finish_reason,
    )


def _tokens(script: Script, channel_id: int, submission: Submission) -> list[Token]:
    """The channel's words, evenly timed between a lead-in and a lead-out of silence."""
    words, begin_ms, span_ms = _span(script, channel_id, submission)
    count = len(words)
    times = [begin_ms + span_ms * index // count for index in range(count + 1)] if words else []
    return [Token(word, times[index], times[index + 1]) for index, word in enumerate(words)]


def _span(script: Script, channel_id: int, submission: Submission) -> tuple[list[str], int, int]:
    """Words, where they begin and how long they last; a channel that the file lacks is silent."""
    said = script.text_of(channel_id).split() if channel_id < script.channels else []
    words = hear(said, script, submission)
    duration_ms = _duration_ms(script)
    lead_ms = min(400, duration_ms // 10)
    return words, lead_ms, duration_ms - 2 * lead_ms if words else 0


def _duration_ms(script: Script) -> int:
    if script.duration_seconds is not None:
        return round(script.duration_seconds * 1000)
    longest = max(len(script.text_of(channel_id).split()) for channel_id in range(script.channels))
    return 800 + _MS_PER_WORD * longest
