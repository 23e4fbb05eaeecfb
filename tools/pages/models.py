"""The text of docs/models.md, from the model table and the options of the families."""

from collections.abc import Iterator, Sequence

from service.contract.family_options import OPTIONS
from service.contract.model_table import MODELS, ApiKind, Family, Feature, ModelInfo
from service.contract.models import is_listed, models_of
from service.contract.regions import BEIJING, FRANKFURT, HONG_KONG, SINGAPORE, TOKYO, VIRGINIA
from tools.pages.option_shapes import objects, shape

INTRODUCTION = """\
# Models

This page is written by `python -m tools.generate_docs models` from `service/contract/model_table.py` and
`service/contract/family_options.py`; a test keeps it in step. The facts are those of the vendor's pages as of
November 2026; none of it has been checked against the live service. A limit that no page has is "not
documented".

All models take the same request and give the same result and failure records. What a model does not give is
null in its transcript, and what it cannot do is refused with the names of those that can.

## Which one to choose
"""

NAMES = """\

A name that the table does not list, but that differs from a listed one only by a date or a version's number,
is taken for its namesake: the result then carries the warning `model_unlisted`. So does the result of a name
that the vendor's pages do not list, or no longer:
{unlisted}.
With a key of another region than the model's the provider says that the model is not there; the failure then
names the regions.

## What they take and give
"""

AFTER = """\

- *Hotwords*: the vendor's limit for one list; what fits into the 32 KiB of `options` is some 700 words. With
  a language hint, hotwords of other languages do nothing.
- *Speakers* come with `diarization_enabled` (in short audio: `speaker_diarization_enabled`), *words* of
  qwen-asr-filetrans with `enable_words`.
- *Hints* is how many of several language hints count.
- *Asked by* **file task**: a submit makes a task that is polled, and that survives a crash of ours without a
  second bill. **short audio** and **omni**: one call answers with the transcript. Such a call cannot be taken
  up again: one that a crash or a broken connection loses is made, and billed, again, at most twice more for a
  file, and counted by `scribe_uncertain_submits_total`.
- *Billed by* tokens: `usage` of a result has `input_tokens` and `output_tokens` where the provider tells
  them, and `SCRIBE_SPEND__PRICES` takes a price for each. `billed_seconds` of Omni is worked out from the
  audio tokens and marked `estimated`; it is null where nobody says how many tokens a second of audio has.
- *What a day may cost*: `SCRIBE_SPEND__SECONDS_PER_DAY` sees results with `billed_seconds`: file tasks,
  short audio, and Omni where it tells its audio tokens. What is billed by tokens alone, as the 3.1 models,
  counts 0 there. `SCRIBE_SPEND__COST_PER_DAY` sees every model with a price in `SCRIBE_SPEND__PRICES`, by the
  second or by the token, and none without. Whoever uses both kinds sets both.
- Submits *a minute* are the account's, of all its keys and workspaces together. What else the vendor limits,
  behind the semicolon, is not counted here: it is met as a 429, and tried again.
- Files of 2 GiB must come by http or https. An upload of the vendor's, `oss://`, holds 1 GB at most, for 48
  hours, in Beijing and Singapore.
- A submit takes one file, as every current page of the vendor's cloud says. Where an account takes more,
  `SCRIBE_REQUESTS__FILES_PER_TASK` sets the number; a submit that is refused for it is divided, and the lower
  number holds for that model until the restart. While submits wait for quota, requests of a partition with
  the same model and options share tasks up to that number.

## Options

An option of another family is refused. `extra_parameters` are sent as they are.
"""

UNDOCUMENTED = "not documented"
REGION_NAMES = {
    BEIJING: "Beijing",
    SINGAPORE: "Singapore",
    VIRGINIA: "Virginia",
    HONG_KONG: "Hong Kong",
    TOKYO: "Tokyo",
    FRANKFURT: "Frankfurt",
}


def models_page() -> str:
    """The whole page."""
    unlisted = ", ".join(f"`{name}`" for name in MODELS if not is_listed(name))
    return "".join(
        (
            INTRODUCTION,
            *_choice(),
            NAMES.format(unlisted=unlisted),
            *_table(),
            AFTER,
            *_options(),
            *_objects(),
        )
    )


def _names() -> list[str]:
    """Those that the vendor lists: without a date where there is such a one."""
    listed = [name for name in MODELS if is_listed(name)]
    return [name for name in listed if not any(name.startswith(f"{other}-20") for other in listed)]


def _choice() -> Iterator[str]:
    yield "\n| you have | take |\n| --- | --- |\n"
    told: dict[str, list[str]] = {}
    for name in _names():
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
        "hints",
        "longest",
        "largest",
        "billed by",
        "a minute",
        "regions",
    )
    yield f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"
    for name in _names():
        yield f"| {' | '.join(_row(name, MODELS[name]))} |\n"


def _row(name: str, info: ModelInfo) -> Sequence[str]:
    return (
        f"`{name}`",
        info.api.value,
        ", ".join(gift.value for gift in Feature if gift in info.gives) or "text alone",
        f"{info.hotwords_per_list:,} a list" if info.hotwords_per_list else "no",
        str(len(info.languages)) if info.languages else "no hint",
        str(info.hints_used) if info.languages else "-",
        _length(info.max_audio_seconds),
        _size(info.max_file_bytes),
        info.billed_by.value,
        f"{info.submits_per_minute:,}" + (f"; {info.also_limited}" if info.also_limited else ""),
        ", ".join(REGION_NAMES[region] for region in info.regions),
    )


def _length(seconds: int | None) -> str:
    if seconds is None:
        return UNDOCUMENTED
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return UNDOCUMENTED
    mib = size_bytes // 1024**2
    return f"{mib // 1024} GiB" if mib >= 1024 else f"{mib} MiB"


def _options() -> Iterator[str]:
    for family in Family:
        names = models_of(family)
        yield f"\n### {family.value}\n\n{', '.join(f'`{name}`' for name in names)}. {_files(names[0])}\n\n"
        yield "| option | JSON | means | not of |\n| --- | --- | --- | --- |\n"
        for name, schema in OPTIONS[family].model_json_schema()["properties"].items():
            lacking = ", ".join(f"`{model}`" for model in names if name in MODELS[model].lacks)
            yield f"| `{name}` | {shape(schema)} | {schema['description']} | {lacking or '-'} |\n"
        codes = {MODELS[name].languages for name in names if MODELS[name].languages}
        for languages in codes:
            yield f"\nLanguages: {' '.join(sorted(languages))}.\n"


def _objects() -> Iterator[str]:
    yield "\n## Objects in options\n"
    for name, schema in objects([each.model_json_schema() for each in OPTIONS.values()]):
        yield f"\n### {name}\n\n{schema['description']}\n\n| field | JSON | |\n| --- | --- | --- |\n"
        for field, of_field in schema["properties"].items():
            needed = "required. " if field in schema.get("required", ()) else ""
            yield f"| `{field}` | {shape(of_field)} | {needed}{of_field.get('description', '')} |\n"


def _files(name: str) -> str:
    info = MODELS[name]
    if info.api is not ApiKind.FILE_TASK:
        return "Each file is a call of its own."
    return (
        "A task takes one file." if info.files_per_task == 1 else f"A task takes {info.files_per_task} files."
    )
