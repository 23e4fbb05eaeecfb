"""Local files of `scribe submit`: checked, and put into the provider's temporary store."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import typer
from pydantic import JsonValue

from service.app import from_settings
from service.cli.tables import size_of
from service.contract.models import model_info
from service.contract.regions import SHARED_HOSTS, UPLOAD_REGIONS
from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OWN_CODES
from service.errors import ProviderRefused
from service.provider.wire.upload_policy import object_name
from service.settings import Settings

KEPT = (
    "the provider keeps it for 48 hours, for this account's tasks of {model} only; its temporary store takes "
    "files up to 1 GB, is documented for {regions} only, and is not meant for production"
)


def local_files(words: Sequence[str], model: str) -> dict[int, Path]:
    """The words that are no URLs, by their position, as files that the model may take.

    Raises `typer.BadParameter` for what is neither.
    """
    files = {number: Path(word) for number, word in enumerate(words) if "://" not in word}
    info = model_info(model)
    for path in files.values():
        fault = _fault(path, None if info is None else info.max_file_bytes)
        if fault is not None:
            raise typer.BadParameter(f"{path} {fault}", param_hint="URL|FILE")
    return files


def placeholder(path: Path) -> str:
    """A URL for a file that is not stored yet, so that the rest of its request can be checked before."""
    return f"oss://local-file/{object_name(path)}"


def _fault(path: Path, max_bytes: int | None) -> str | None:
    try:
        if not path.is_file():
            return "is neither a URL (https://...) nor a file here"
        with path.open("rb"):
            size = path.stat().st_size
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or 'no file name'})"
    if size == 0:
        return "is empty"
    if max_bytes is not None and size > max_bytes:
        return f"has {size_of(size)}; the model takes {size_of(max_bytes)}"
    return None


async def stored(
    settings: Settings, body: Mapping[str, JsonValue], files: Mapping[int, Path], tell: Callable[[str], None]
) -> dict[str, JsonValue]:
    """The request with its local files stored, and their URLs in it.

    Raises `ProviderRefused` for the first file that is not taken; `ConfigError` without a key.
    """
    named = body["file_urls"]
    urls, model = [*named] if isinstance(named, list) else [], str(body["model"])
    async with from_settings.provider_of(settings) as provider:
        for index, path in files.items():
            tell(f"{path}: uploading {size_of(path.stat().st_size)}")
            try:
                answer = await provider.uploads.put(path, model)
            except OSError as error:
                raise ProviderRefused(f"{path} cannot be read ({error.strerror})") from None
            if isinstance(answer, ProviderError):
                words = f"{path} is not uploaded: {_reason(settings, answer)}"
                raise ProviderRefused(f"{words} (`scribe doctor` checks the key and the way there)")
            tell(f"{path}: uploaded as {answer}")
            urls[index] = answer
    tell(KEPT.format(model=model, regions=" and ".join(UPLOAD_REGIONS)))
    return {**body, "file_urls": urls}


def _reason(settings: Settings, error: ProviderError) -> str:
    """The error, and what may be the reason: not every region has a store."""
    words = error.message if error.code in OWN_CODES else f"{error.code}: {error.message}"
    regions = {host: name for name, host in SHARED_HOSTS.items()}
    region = settings.provider.region or regions.get(error.host or "")
    if region is None or region in UPLOAD_REGIONS:
        return words
    return f"{words}; the store is documented for {' and '.join(UPLOAD_REGIONS)}, and the key is of {region}"
