"""`python -m sandbox simulate`: a simulator as a process of its own, until SIGTERM or SIGINT."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence

from sandbox.simulator.config import DEFAULT_KEY, SimulatorConfig, service_settings, vendor_submit_rpm
from sandbox.simulator.models import SINGAPORE
from sandbox.simulator.server import serve


def main(argv: Sequence[str]) -> int:
    """Run until told to stop; exit code 1 when the port is taken, 2 for a bad argument."""
    config = _config(_parser().parse_args(argv))
    try:
        asyncio.run(_run(config))
    except OSError as error:
        print(f"simulate: cannot listen on {config.host}:{config.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _run(config: SimulatorConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(config) as simulator:
        needed = service_settings(simulator.base_url, next(iter(config.api_keys)))
        service = " ".join(f"{name}={value}" for name, value in needed.items())
        ready = {"origin": simulator.origin, "base_url": simulator.base_url, "a service needs": service}
        print(json.dumps(ready), flush=True)
        await stop.wait()


def _config(arguments: argparse.Namespace) -> SimulatorConfig:
    quota: dict[str, int | None] = dict.fromkeys(("query_qps", "list_qps", "cancel_qps"), arguments.qps)
    rpm = vendor_submit_rpm(arguments.region)
    if arguments.submit_rpm is not None:
        rpm = dict.fromkeys(rpm, arguments.submit_rpm)
    keys = [text.partition("=") for text in arguments.api_key or [DEFAULT_KEY]]
    return SimulatorConfig(
        port=arguments.port,
        engine=arguments.engine,
        region=arguments.region,
        speed=arguments.speed,
        virtual=arguments.virtual,
        api_keys={key: account or "account-1" for key, _, account in keys},
        files_per_task=arguments.files_per_task,
        submit_rpm=None if arguments.no_quotas else rpm,
        query_qps=None if arguments.no_quotas else quota["query_qps"],
        list_qps=None if arguments.no_quotas else quota["list_qps"],
        cancel_qps=None if arguments.no_quotas else quota["cancel_qps"],
        all_failed_shape=arguments.all_failed,
        missing_parameters=arguments.missing_parameters,
        bad_model_status=arguments.bad_model_status,
        retention_seconds=arguments.retention_hours * 3600,
        result_url_seconds=arguments.result_hours * 3600,
        seed=arguments.seed,
        load_model_at_start=True,
        on_heard=_print_heard,
    )


def _print_heard(url: str, heard_seconds: float, all_seconds: float) -> None:
    """One JSON line; a URL's query may be a signature."""
    heard = {"heard": url.partition("?")[0], "seconds": round(heard_seconds), "of": round(all_seconds)}
    print(json.dumps(heard), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox simulate",
        description="A DashScope look-alike on loopback. Prints one JSON line with its addresses when ready.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--engine", choices=("scripted", "whisper"), default="scripted")
    _add_clock(parser)
    _add_account(parser)
    _add_behaviour(parser)
    return parser


def _add_clock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--speed", type=_positive, default=1.0, help="seconds of its clock per real second")
    parser.add_argument("--virtual", action="store_true", help="the clock moves only by POST /_sim/clock")


def _add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--api-key", action="append", metavar="KEY[=ACCOUNT]", help="repeatable; sk-simulator"
    )
    parser.add_argument(
        "--region", default=SINGAPORE, help="decides which models there are; cn-beijing has Paraformer too"
    )
    parser.add_argument("--submit-rpm", type=int, help="submits a minute, for every model")
    parser.add_argument("--qps", type=int, default=20, help="query, list and cancel calls a second, each")
    parser.add_argument("--no-quotas", action="store_true", help="never answer 429 on its own")


def _add_behaviour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files-per-task", type=int, default=1)
    parser.add_argument(
        "--all-failed", choices=("succeeded", "failed", "failed_with_results"), default="succeeded"
    )
    parser.add_argument("--missing-parameters", choices=("fail", "accept"), default="fail")
    parser.add_argument("--bad-model-status", type=int, choices=(400, 404), default=400)
    parser.add_argument("--retention-hours", type=_positive, default=24.0)
    parser.add_argument("--result-hours", type=_positive, default=24.0)
    parser.add_argument("--seed", type=int, default=0, help="of the order of results")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("must be above zero")
    return value
