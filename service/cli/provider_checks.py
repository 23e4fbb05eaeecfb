"""The checks of `scribe doctor` at the provider: a connection, and a call that lists tasks.

Neither bills anything.
"""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from service.app import from_settings
from service.cli.findings import Finding, Report, Result
from service.cli.tables import age
from service.contract.regions import SHARED_HOSTS
from service.core.limits.hold_causes import HoldCause
from service.core.provider.answers import Cause, ProviderError
from service.core.provider.error_table import Action, on_submit
from service.errors import ConfigError
from service.provider.http.handshake import reach
from service.provider.http.trust import tls_context
from service.settings import Settings

CLOCK_SECONDS = 2.0
"""The provider's `Date` has whole seconds, and the call takes a part of one."""
FAR_CLOCK_SECONDS = 3_600.0
"""A process must not start on a machine whose clock is wrong by so much (docs/operations.md)."""
STEPS = ("dns", "connection", "tls", "answer", "key")
"""What a call passes, in this order: a step that fails leaves the later ones unknown."""
_FAILS_AT: Mapping[Cause, str] = {
    Cause.UNKNOWN_HOST: "dns",
    Cause.REFUSED: "connection",
    Cause.UNREACHABLE: "connection",
    Cause.CONNECT_TIMEOUT: "connection",
    Cause.LOCAL: "connection",
    Cause.CERTIFICATE: "tls",
    Cause.TLS: "tls",
}


def check_way(settings: Settings, environ: Mapping[str, str], report: Report) -> bool:
    """Report whether the settings and their files allow a call to the provider, and return it."""
    may_call = True
    try:
        proxy = from_settings.proxy_of(settings)
        tls_context(settings.provider.ca_file)
    except ConfigError as error:
        may_call = False
        report(Finding("settings", Result.FAILED, str(error)))
    else:
        unused = from_settings.unused_proxy(settings, environ)
        way = f"; the provider is called through the proxy {proxy}" if proxy else ""
        words = f"every SCRIBE_ variable is known and valid{way}"
        report(Finding("settings", Result.WARNING if unused else Result.OK, unused or words))
    try:
        settings.provider.key()
    except ConfigError as error:
        report(Finding("key", Result.FAILED, str(error)))
        may_call = False
    return may_call


async def check_provider(settings: Settings, report: Report, *, may_call: bool) -> None:
    """Report what an operator must know of the provider, within the time of two calls."""
    if not may_call:
        for check in (*STEPS[:-1], "quota", "clock"):
            report(Finding(check, Result.SKIPPED, "the settings allow no call"))
        return
    provider, proxy = from_settings.provider_of(settings), from_settings.proxy_of(settings)
    tls = tls_context(settings.provider.ca_file)
    error = await reach(settings.provider.url, settings.provider.call_timeout_seconds, tls, proxy)
    offset_ms = None
    if error is None:
        async with provider:
            answer = await provider.list_tasks(1)
            error = answer if isinstance(answer, ProviderError) else None
            offset_ms = provider.clock_offset_ms()
    _report_steps(settings, error, report)
    report(_quota(settings, error))
    report(_clock(offset_ms))


def _report_steps(settings: Settings, error: ProviderError | None, report: Report) -> None:
    url = urlsplit(settings.provider.url)
    passed = {
        "dns": f"{url.hostname} has an address",
        "connection": f"{url.netloc} takes connections",
        "tls": "its certificate is trusted",
        "answer": "the provider's API answers",
        "key": f"it is a key of {_region(settings)}",
    }
    failed = None if error is None else _failed_step(error)
    for number, step in enumerate(STEPS):
        if failed is not None and number > STEPS.index(failed):
            report(Finding(step, Result.SKIPPED, f"the call failed earlier ({failed})"))
        elif step == failed and error is not None:
            report(_failure(settings, step, error))
        elif step == "tls" and url.scheme == "http":
            report(Finding(step, Result.SKIPPED, "the URL is http, as a simulator's"))
        else:
            report(Finding(step, Result.OK, passed[step]))


def _failed_step(error: ProviderError) -> str | None:
    """The step that the error is of; None for an error that shows that all went well."""
    if error.is_throttled:
        return None
    step = _FAILS_AT.get(error.kind)
    if step is not None:
        return step
    return "key" if _is_about_key(error) else "answer"


def _is_about_key(error: ProviderError) -> bool:
    is_refused = error.http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return is_refused or (error.provider_code is not None and on_submit(error).action is Action.HOLD)


def _failure(settings: Settings, step: str, error: ProviderError) -> Finding:
    if step != "key":
        return Finding(step, Result.FAILED, error.message)
    words = f"{_region(settings)} refuses it ({error.code}: {error.message}). {HoldCause(error).remedy}"
    return Finding(step, Result.FAILED, words)


def _region(settings: Settings) -> str:
    host = urlsplit(settings.provider.url).hostname or ""
    shared = {name: region for region, name in SHARED_HOSTS.items()}
    region = settings.provider.region or shared.get(host)
    return host if region is None else f"{region} ({host})"


def _quota(settings: Settings, error: ProviderError | None) -> Finding:
    quota = settings.quota
    if error is not None and error.is_throttled:
        words = f"the provider throttles: {error.message}; lower SCRIBE_QUOTA__PART if others use the account"
        return Finding("quota", Result.WARNING, words)
    if error is not None:
        return Finding("quota", Result.SKIPPED, "the call failed earlier")
    submits = "the model table's" if quota.submits_per_minute is None else f"{quota.submits_per_minute:g}"
    words = (
        f"not throttled; Scribe takes {quota.part:.0%} of {quota.calls_per_second:g} queries a second and of "
        f"{submits} submits a minute"
    )
    return Finding("quota", Result.OK, words)


def _clock(offset_ms: int | None) -> Finding:
    if offset_ms is None:
        return Finding("clock", Result.SKIPPED, "the provider told no time")
    seconds = offset_ms / 1000
    words = f"this machine's is {age(abs(seconds))} {'behind' if seconds > 0 else 'ahead of'} the provider's"
    if abs(seconds) < CLOCK_SECONDS:
        return Finding("clock", Result.OK, "this machine's agrees with the provider's")
    if abs(seconds) < FAR_CLOCK_SECONDS:
        return Finding("clock", Result.WARNING, f"{words}: correct it (NTP)")
    return Finding("clock", Result.FAILED, f"{words}: correct it (NTP) before a service starts here")
