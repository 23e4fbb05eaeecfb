"""The text of docs/models.md, from the model table and the options of the families."""

from collections.abc import Iterator, Sequence

from service.contract.family_options import OPTIONS
from service.contract.models import (
    MODELS,
    UNKNOWN_RATE,
    Family,
    Gives,
    ModelInfo,
    Way,
    known_models,
    models_of,
)

INTRODUCTION = """\
# Models

This page is written by `python -m tools.generate_docs models` from `service/contract/models.py` and
`service/contract/family_options.py`; a test keeps it in step. The facts are those of the vendor's pages of
2026; none of it has been checked against the live service.

All models take the same request and give the same result and failure records. What a model does not give is
null in its transcript, and what it cannot do is refused with the names of those that can.

## Which one to choose
"""

NAMES = """\

A name that the table does not list, but that differs from a listed one only by a date or a version's number,
is taken for its namesake: the result then carries the warning `model_unlisted`. With a key of another region
than the model's the provider says that the model is not there; the failure then names the regions.

## What they take and give
"""

AFTER = f"""\

- *Hotwords*: the vendor's limit for one list; what fits into the 32 KiB of `options` is some 700 words.
- *Speakers* come with `diarization_enabled`, *words* of qwen-asr-filetrans with `enable_words`.
- *Asked by* **file task**: a submit makes a task that is polled, and that survives a crash of ours without a
  second bill. **short audio** and **omni**: one call answers with the transcript. Such a call cannot be taken
  up again: one that a crash or a broken connection loses is made, and billed, again, at most twice more for a
  file, and counted by `scribe_uncertain_submits_total`.
- Omni is billed by tokens; `billed_seconds` is worked out from the audio tokens and marked `estimated`.
- *What a day may cost*: `SCRIBE_SPEND__SECONDS_PER_DAY` sees results with `billed_seconds`: file tasks,
  short audio, and Omni where it tells its audio tokens. What is billed by tokens alone, as the 3.1 models,
  counts 0 there. `SCRIBE_SPEND__COST_PER_DAY` sees every model with a price in `SCRIBE_SPEND__PRICES`, by the
  second or by the token, and none without. Whoever uses both kinds sets both.
- Submits a minute are the account's. Where the vendor documents none, {UNKNOWN_RATE} is ours.

## Options

An option of another family is refused. `extra_parameters` are sent as they are.
"""

REGIONS = {"cn-beijing": "Beijing", "ap-southeast-1": "Singapore", "us-east-1": "Virginia"}


def models_page() -> str:
    """The whole page."""
    return "".join((INTRODUCTION, *_choice(), NAMES, *_table(), AFTER, *_options()))


def _choice() -> Iterator[str]:
    yield "\n| you have | take |\n| --- | --- |\n"
    told: dict[str, list[str]] = {}
    for name in known_models():
        told.setdefault(MODELS[name].good_for, []).append(f"`{name}`")
    for good_for, names in told.items():
        yield f"| {good_for} | {', '.join(names)} |\n"


def _table() -> Iterator[str]:
    head = (
        "model",
        "asked by",
        "gives",
        "hotwords",
        "languages",
        "longest",
        "largest",
        "a minute",
        "regions",
    )
    yield f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"
    for name in known_models():
        yield f"| {' | '.join(_row(name, MODELS[name]))} |\n"


def _row(name: str, info: ModelInfo) -> Sequence[str]:
    return (
        f"`{name}`",
        info.way.value,
        ", ".join(gift.value for gift in Gives if gift in info.gives) or "text alone",
        f"{info.hotwords_per_list:,} a list" if info.hotwords_per_list else "no",
        str(len(info.languages)) if info.languages else "no hint",
        _length(info.max_audio_seconds),
        _size(info.max_file_bytes),
        f"{info.submits_per_minute:,}",
        ", ".join(REGIONS[region] for region in info.regions),
    )


def _length(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min"


def _size(size_bytes: int) -> str:
    mib = size_bytes // 1024**2
    return f"{mib // 1024} GiB" if mib >= 1024 else f"{mib} MiB"


def _options() -> Iterator[str]:
    for family in Family:
        names = models_of(family)
        yield f"\n### {family.value}\n\n{', '.join(f'`{name}`' for name in names)}. {_files(names[0])}\n\n"
        yield "| option | means | not of |\n| --- | --- | --- |\n"
        for name, field in OPTIONS[family].model_fields.items():
            lacking = ", ".join(f"`{model}`" for model in names if name in MODELS[model].lacks)
            yield f"| `{name}` | {field.description} | {lacking or '-'} |\n"
        codes = {MODELS[name].languages for name in names if MODELS[name].languages}
        for languages in codes:
            yield f"\nLanguages: {' '.join(sorted(languages))}.\n"


def _files(name: str) -> str:
    info = MODELS[name]
    if info.way is not Way.FILE_TASK:
        return "Each file is a call of its own."
    most = info.files_per_task
    return f"A task takes up to {most} files." if most > 1 else "A task takes one file."
