"""Says what sending a plan's URLs to the real provider may cost; it never sends anything."""

from urllib.parse import urlsplit

from sandbox.demo.plan import KEY, MODEL, DemoError, Plan
from service.contract.model_table import MODELS
from service.errors import ConfigError
from service.settings import load

USD_PER_SPEECH_SECOND = 0.000035
"""The international list price of the demo's model (2026)."""


def estimate(plan: Plan) -> tuple[str, ...]:
    """Sentences with the price and an upper bound: the length of the audio is not known here.

    Raises DemoError where the service would refuse the plan's settings.
    """
    count = len(plan.urls)
    per_hour = 3600 * USD_PER_SPEECH_SECOND
    longest_seconds = MODELS[MODEL].max_audio_seconds
    assert longest_seconds is not None, "the vendor documents it for the demo's model"
    most = longest_seconds * USD_PER_SPEECH_SECOND * count
    return (
        f"{count} file{'s' if count > 1 else ''} for {_place(plan)}, model {MODEL}, billed to {KEY}.",
        f"Estimated cost: USD {per_hour:.3f} for each hour of speech that the provider finds in the audio"
        " (list price; yours may differ). How long the audio is cannot be seen from here; a file may have"
        f" at most {longest_seconds // 3600} h, so the bill cannot exceed USD {most:.2f}.",
    )


def _place(plan: Plan) -> str:
    try:
        base_url = load(plan.provider_settings or {}).provider.url
    except ConfigError as error:
        raise DemoError(f"{error}.", 2) from None
    return urlsplit(base_url).netloc
