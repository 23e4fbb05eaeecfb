"""How the questions about models that answer at once are put; an ask is as in `asking`."""

import base64
import io
import wave

from service.core.provider.answers import Answered
from service.provider.wire.answer_fields import part
from tools.live import questions as q
from tools.live.account import Account, called, refusal
from tools.live.asking import Answers
from tools.live.questions import Seen

SHORT = "fun-asr-flash-2026-06-15"


async def short_audio(account: Account) -> Answers:
    """A short model with the options of its own."""
    answer = await account.provider.submit(SHORT, [account.samples.female], {"sample_rate": 16000})
    if not isinstance(answer, Answered):
        yield q.SAMPLE_RATE, Seen(q.NO, called(refusal(answer)))
        answer = await account.provider.submit(SHORT, [account.samples.female], {})
    else:
        yield q.SAMPLE_RATE, Seen(q.YES)
    if not isinstance(answer, Answered):
        return
    output = part(account.provider.document(), "output")
    nested = "output.output" if "sentence" in part(output, "output") else "nowhere"
    yield q.NESTING, Seen("output" if "sentence" in output else nested)


async def speakers(account: Account) -> Answers:
    """A short model that tells speakers apart and is billed by tokens."""
    told = {"speaker_diarization_enabled": True}
    answer = await account.provider.submit("qwen-audio-3.1-asr-flash", [account.samples.female], told)
    if not isinstance(answer, Answered):
        yield q.SHORT_TOKENS, Seen(q.NO, called(refusal(answer)))
        return
    yield q.SHORT_TOKENS, Seen(q.YES if answer.bill.output_tokens is not None else q.NO)
    output = part(account.provider.document(), "output")
    yield q.SPEAKERS, Seen(next((key for key in ("sentences", "sentence") if key in output), "nowhere"))


async def qwen(account: Account) -> Answers:
    """Qwen3-ASR with speech, then with a second of silence."""
    answer = await account.provider.submit("qwen3-asr-flash", [account.samples.female], {})
    if not isinstance(answer, Answered):
        yield q.SHORT_ANSWER, Seen(called(refusal(answer)))
        return
    has_seconds = "seconds" in part(account.provider.document(), "usage")
    yield q.SHORT_ANSWER, Seen(q.YES if has_seconds else "without usage.seconds")
    silent = await account.provider.submit("qwen3-asr-flash", [_silence()], {})
    if isinstance(silent, Answered):
        yield q.SILENCE, Seen("an answer", _content(account))
    else:
        yield q.SILENCE, Seen("an error", called(refusal(silent)))


async def omni(account: Account) -> Answers:
    """Omni, whose answer is a stream."""
    answer = await account.provider.submit("qwen3.5-omni-flash", [account.samples.female], {})
    if isinstance(answer, Answered):
        yield q.OMNI_USAGE, Seen(q.YES if answer.bill.output_tokens is not None else q.NO)
    else:
        yield q.OMNI_USAGE, Seen(called(refusal(answer)))


def _content(account: Account) -> str:
    choices = part(account.provider.document(), "output").get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    content = part(choice, "message").get("content") if isinstance(choice, dict) else None
    return "content is []" if content == [] else f"content has {len(str(content))} characters"


def _silence() -> str:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000))
    return "data:audio/wav;base64," + base64.b64encode(written.getvalue()).decode()
