"""Hotwords in requests: words that a model should prefer.

Limits: docs/provider.md, section 9; how many words a list may hold is in the model table.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)

from service.contract.validation_errors import refusal

MAX_CHARS = 15
"""Limit of a word with a non-ASCII character."""
MAX_PARTS = 7
"""Parts between spaces of an ASCII word."""
USUAL_WEIGHT = 4
"""The vendor's weight of a word that names none."""
SUPER_WEIGHT = 50
"""Only the qwen-audio models accept it, for at most `MAX_SUPER` words of a list."""
MAX_SUPER = 50

MAX_INSTANT = 2_000
"""Words of one request's vocabulary; of more, the vendor uses a random part."""

HotwordLanguage = Literal["zh", "en", "ja", "yue", "ko", "de", "fr", "ru"]


class Hotword(BaseModel):
    """One word of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    text: Annotated[
        str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"\S")
    ] = Field(description="At most 15 characters; at most 7 words where all of it is ASCII.")
    weight: StrictInt = Field(
        default=USUAL_WEIGHT,
        json_schema_extra={"anyOf": [{"minimum": 1, "maximum": 5}, {"const": SUPER_WEIGHT}]},
        description="1 to 5; 50 for up to 50 words of qwen-audio models.",
    )
    language: HotwordLanguage | None = Field(
        default=None, description="The word's language; leave it out where it is mixed."
    )

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        if not 1 <= self.weight <= 5 and self.weight != SUPER_WEIGHT:
            raise refusal("`weight` must be 1 to 5, or 50 with a qwen-audio model")
        if not self.text.isascii() and len(self.text) > MAX_CHARS:
            raise refusal(f"`text` may have {MAX_CHARS} characters where any is beyond ASCII")
        if self.text.isascii() and len(self.text.split()) > MAX_PARTS:
            raise refusal(f"`text` may have {MAX_PARTS} parts between spaces")
        return self


def _weight(weight: int) -> int:
    if 5 < weight < SUPER_WEIGHT:
        raise refusal("must be 1 to 5, or 50")
    return weight


def _within_limits(weights: dict[str, int]) -> dict[str, int]:
    heaviest = sum(weight == SUPER_WEIGHT for weight in weights.values())
    if len(weights) > MAX_INSTANT:
        raise refusal(f"must have at most {MAX_INSTANT} entries")
    if heaviest > MAX_SUPER:
        raise refusal(f"has {heaviest} words of weight {SUPER_WEIGHT}; it may have {MAX_SUPER}")
    return weights


InstantWeight = Annotated[
    StrictInt,
    Field(ge=1, le=SUPER_WEIGHT, json_schema_extra={"anyOf": [{"maximum": 5}, {"const": SUPER_WEIGHT}]}),
    AfterValidator(_weight),
]
Vocabulary = Annotated[
    dict[Annotated[str, StringConstraints(min_length=1, max_length=200)], InstantWeight],
    Field(min_length=1),
    AfterValidator(_within_limits),
]
"""Words and their weights for one file; they need no list."""


def fault_of(
    hotwords: Sequence[Hotword], model: str, most: int, languages: Collection[str], *, knows_super: bool
) -> str | None:
    """How the whole list breaks the model's limits; None if it does not."""
    if len(hotwords) > most:
        return f"`options.hotwords` has {len(hotwords)} words; a list for {model} may have {most}"
    texts = [word.text for word in hotwords]
    if len(set(texts)) != len(texts):
        return "`options.hotwords` must not name a word twice"
    strange = next((w.language for w in hotwords if w.language and w.language not in languages), None)
    if strange:
        return f"`options.hotwords`: {model} knows words of {', '.join(sorted(languages))}, not of {strange}"
    heaviest = sum(word.weight == SUPER_WEIGHT for word in hotwords)
    if heaviest and not knows_super:
        return f"`options.hotwords`: {model} knows weights 1 to 5; 50 is for qwen-audio models"
    if heaviest > MAX_SUPER:
        return f"`options.hotwords` has {heaviest} words of weight 50; a list may have {MAX_SUPER}"
    return None
