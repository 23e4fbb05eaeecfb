"""`python -m tests.chaos`: a long storm on a broker of its own, and one line at its end.

The exit code is not 0 when anything in that line should be 0 and is not; the logs are kept then.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from sandbox.child import ServerStartError
from tests.chaos.brokers import own_broker
from tests.chaos.fleet import Setting, fleet
from tests.chaos.oracle import Mode, Rules, Verdict
from tests.chaos.reading import BrokerName
from tests.chaos.storm import Storm, rage

PARTITIONS = 12


def main(argv: Sequence[str]) -> int:
    """Run one storm; the exit code."""
    options = _options(argv)
    folder = Path(tempfile.mkdtemp(prefix="scribe-chaos-"))
    try:
        verdict = _run(options, folder)
    except ServerStartError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    for complaint in verdict.complaints:
        print(f"chaos: {complaint}", file=sys.stderr)
    print(verdict.line(options.seed), flush=True)
    if verdict.complaints:
        print(f"chaos: the workers' logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _run(options: argparse.Namespace, folder: Path) -> Verdict:
    storm = Storm(options.seed, 60 * options.minutes, options.members, burners=options.burners)
    rules = Rules(mode=options.mode)
    with own_broker(options.broker, options.nodes) as broker:

        async def run() -> Verdict:
            setting = Setting(
                options.broker,
                broker.bootstrap,
                options.mode,
                PARTITIONS,
                replication=options.nodes,
            )
            async with fleet(setting, "chaos", folder) as made:
                return await rage(storm, made, broker, rules)

        return asyncio.run(run())


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="a random one without it")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the acts go on")
    parser.add_argument("--mode", choices=get_args(Mode), help="the delivery; else what the broker can do")
    parser.add_argument("--broker", choices=get_args(BrokerName), default="kafka")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of Kafka; with 3, leaders move")
    parser.add_argument("--members", type=int, default=3, help="workers at the start")
    parser.add_argument("--burners", type=int, default=0, help="processes that only use a processor up")
    options = parser.parse_args(argv)
    options.mode = options.mode or ("exactly_once" if options.broker == "kafka" else "at_least_once")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
