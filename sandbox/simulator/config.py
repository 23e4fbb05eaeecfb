"""What a simulated provider account looks like: keys, quotas, limits and which of the vendor's
contradicting behaviours to show. It never changes after start; faults and the clock do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sandbox.simulator.models import SINGAPORE, submits_per_minute
from sandbox.simulator.sync_models import sync_submits_per_minute

EngineName = Literal["scripted", "whisper"]
AllFailedShape = Literal["succeeded", "failed", "failed_with_results"]
DEFAULT_KEY = "sk-simulator"
DAY_SECONDS = 86_400.0
MIB = 1024 * 1024


def vendor_submit_rpm(region: str = SINGAPORE) -> Mapping[str, int | None]:
    """Submits a minute per model and account (rate-limit page, 2026); None where no number is known."""
    return {**submits_per_minute(region), **sync_submits_per_minute(region)}


def service_settings(base_url: str, api_key: str = DEFAULT_KEY) -> dict[str, str]:
    """What the service must be told of a simulator: its results come by plain HTTP from loopback."""
    return {
        "SCRIBE_PROVIDER__BASE_URL": base_url,
        "SCRIBE_PROVIDER__API_KEY": api_key,
        "SCRIBE_FETCH__PLAIN_HTTP_HOSTS": "127.0.0.1",
    }


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig:
    """Every knob of a simulator; the defaults are the vendor's documented numbers.

    `api_keys` maps a key to the account it belongs to. Quotas of None are off; a model that
    `submit_rpm` does not name has none. Quotas count wall-clock time unless `quota_clock` says
    otherwise, so that a client under test with a real clock meets the real limits whatever `speed` is.
    """

    host: str = "127.0.0.1"
    port: int = 0
    public_origin: str | None = None
    engine: EngineName = "scripted"
    api_keys: Mapping[str, str] = field(default_factory=lambda: {DEFAULT_KEY: "account-1"})
    region: str = SINGAPORE
    """Decides which models there are: `cn-beijing` has every asynchronous one."""

    speed: float = 1.0
    virtual: bool = False
    start_time: float | None = None
    zone_hours: float = 8.0
    """The zone of times that come, and are asked for, without one."""

    files_per_task: int = 1
    """URLs of one submit: every page of 2026 says one, older ones up to 100."""
    submit_rpm: Mapping[str, int | None] | None = field(default_factory=vendor_submit_rpm)
    query_qps: int | None = 20
    list_qps: int | None = 20
    cancel_qps: int | None = 20
    hotwords_qps: int | None = None
    """Calls a second on hotword lists; no limit is documented."""
    policy_qps: int | None = 100
    """Leaves to upload a second, per account and model."""
    quota_clock: Literal["wall", "simulated"] = "wall"

    retention_seconds: float = DAY_SECONDS
    result_url_seconds: float = DAY_SECONDS
    task_limit_seconds: float = 3 * 3_600.0
    all_failed_shape: AllFailedShape = "succeeded"
    missing_parameters: Literal["fail", "accept"] = "fail"
    bad_model_status: Literal[400, 404] = 400
    list_key: Literal["data", "tasks"] = "data"
    """As the vendor's page has it, or as its newest client reads it, which also wants `end_time` as text."""
    list_page_limit: int = 100
    refuses_large_pages: bool = False
    """A larger page of the list than the limit is a 400; else it is cut to the limit."""
    seed: int = 0
    short_audio_nesting: Literal[1, 2] = 1
    """How deep `sentence` and `text` of the short models lie: `output`, or `output.output`."""

    call_limit_seconds: float = 300.0
    """How long a synchronous call may take before it is RequestTimeOut."""

    call_patience_seconds: float = 600.0
    """Real time after which nothing more is waited for in a call: the clock may stand still."""

    hotword_lists: int = 10
    """Of an account, across all models."""
    words_per_list: int | None = None
    """None: by the model, as newer pages have it (older ones: 500 for all)."""
    hotword_deploy_seconds: float = 0.0
    """How long a list is UNDEPLOYED, and without effect, after it was made or changed."""
    unknown_vocabulary: Literal["ignored", "not_found"] = "ignored"
    """What a submit that names a list nobody has is answered with: 200, or 404."""

    upload_limit_bytes: int = 64 * MIB
    """Of an uploaded file, kept in memory (the vendor takes 1 GB)."""
    load_model_at_start: bool = False
    on_heard: Callable[[str, float, float], None] | None = None
    """Told of the recogniser's way through a long file: its URL, seconds heard, and of how many."""
    audio_limit_bytes: int = 512 * MIB
    audio_limit_seconds: float = 2 * 3_600.0
    download_limit_seconds: float = 60.0

    def accounts(self) -> tuple[str, ...]:
        """Account names, each once, in the order of their first key."""
        return tuple(dict.fromkeys(self.api_keys.values()))
