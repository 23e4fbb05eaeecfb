"""Reads from the environment whom to ask and whether it is agreed, and says what it costs; asks nothing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from service.contract.regions import REGIONS, SINGAPORE
from service.errors import ConfigError
from service.provider.dashscope import DashScopeConfig
from service.settings import load
from service.settings.environment import read_secret, variable
from tools.live.account import Samples
from tools.live.inquiries import INQUIRIES

_WEB = "https://dashscope.oss-cn-beijing.aliyuncs.com/samples/audio/"
SAMPLES = Samples(
    f"{_WEB}hello_world_female2.wav", f"{_WEB}hello_world_male2.wav", f"{_WEB}scribe_no_such_file.wav"
)
"""The recordings of the vendor's own help pages: four seconds of speech each."""
CALL_SECONDS = 60.0
"""Of a model that answers at once: its audio lasts four seconds."""
_FILE_SECONDS, _USD_PER_SECOND = 5, 0.000035


@dataclass(frozen=True)
class Plan:
    """Whom to ask, and where the table goes; None for the screen."""

    config: DashScopeConfig
    region: str
    out: Path | None
    is_confirmed: bool

    @property
    def host(self) -> str:
        """The host that is asked."""
        return urlsplit(self.config.base_url).hostname or ""


def read_plan(environ: Mapping[str, str]) -> Plan:
    """The plan; raises `ConfigError` with a sentence."""
    given = {
        name: environ.get(name, "").strip()
        for name in ("KEY_FILE", "BASE_URL", "REGION", "WORKSPACE", "OUT", "CONFIRM")
    }
    key = read_secret(Path(given["KEY_FILE"]) if given["KEY_FILE"] else None, "KEY_FILE")
    if key is None:
        raise ConfigError("name the file that holds the key: KEY_FILE=path")
    region = given["REGION"] or SINGAPORE
    if region not in REGIONS:
        raise ConfigError(f"REGION is one of {', '.join(REGIONS)}")
    place = {"base_url": given["BASE_URL"]} if given["BASE_URL"] else {"region": region}
    asked = {**place, "workspace": given["WORKSPACE"]}
    provider = load({variable("provider", name): value for name, value in asked.items()}).provider
    config = DashScopeConfig(
        provider.url, key, provider.workspace_header, answer_timeout_seconds=CALL_SECONDS
    )
    out = Path(given["OUT"]) if given["OUT"] else None
    return Plan(config, region, out, given["CONFIRM"] == "yes")


def cost(plan: Plan) -> str:
    """What will be asked and what it may cost."""
    offered = [inquiry for inquiry in INQUIRIES if inquiry.is_offered(plan.region)]
    files = sum(inquiry.files for inquiry in offered)
    questions = sum(len(inquiry.questions) for inquiry in offered) + 1
    most = math.ceil(100 * files * _FILE_SECONDS * _USD_PER_SECOND) / 100 + 0.01  # a cent for Omni's tokens
    return (
        f"{questions} questions to {plan.host}: {files} short files are transcribed, billed to the key in"
        f" KEY_FILE, and some more calls are made that cost nothing. At list prices less than USD {most:.2f}."
    )
