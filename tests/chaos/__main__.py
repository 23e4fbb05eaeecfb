"""`python -m tests.chaos`: a long storm on a broker of its own, and one line at its end.

The exit code is not 0 when anything in that line should be 0 and is not; the logs are kept then.
What the engine is known to do wrong (`tests.chaos.known`) is told apart.
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
from tests.chaos.evidence import Mode, Rules
from tests.chaos.fleet import fleet
from tests.chaos.known import RULES
from tests.chaos.reading import BrokerName
from tests.chaos.setting import Setting
from tests.chaos.storm import Report, Storm, rage
from tests.chaos.topics import Compaction

PARTITIONS = 12
COMPACTION_LAG_MS = 1_000
"""Of `--compact`."""


def main(argv: Sequence[str]) -> int:
    """Run one storm; the exit code."""
    options = _options(argv)
    folder = Path(tempfile.mkdtemp(prefix="scribe-chaos-"))
    try:
        report = _run(options, folder)
    except ServerStartError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    for complaint in report.judgement.complaints:
        print(f"chaos: {complaint}", file=sys.stderr)
    print(report.lines(options.seed), flush=True)
    if report.judgement.complaints:
        print(f"chaos: the workers' logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _run(options: argparse.Namespace, folder: Path) -> Report:
    storm = Storm(options.seed, 60 * options.minutes, options.members, burners=options.burners)
    rules = Rules(mode=options.mode, known=frozenset(RULES))
    compaction = Compaction(COMPACTION_LAG_MS) if options.compact else None
    with own_broker(options.broker, options.nodes) as broker:

        async def run() -> Report:
            setting = Setting(
                options.broker,
                broker.bootstrap,
                options.mode,
                PARTITIONS,
                replication=options.nodes,
                broker_ports=broker.ports,
                compaction=compaction,
            )
            async with fleet(setting, "chaos", folder, has_variety=True) as made:
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
    parser.add_argument(
        "--compact", type=int, choices=(0, 1), default=0, help="whether Kafka compacts the journal at once"
    )
    parser.add_argument("--burners", type=int, default=0, help="processes that only use a processor up")
    options = parser.parse_args(argv)
    options.mode = options.mode or ("exactly_once" if options.broker == "kafka" else "at_least_once")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
