"""`python -m tests.hostile`: hostile records and answers through a service on a Kafka of its own.

Prints one line at the end; the exit code is 1 when anything is not as the tables expect.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sandbox.kafka import real_kafka
from tests.hostile.run import run
from tests.integration.stack import ROLES

MOST_SHOWN = 50


def main(argv: Sequence[str]) -> int:
    """One run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--n", type=int, default=4_000, help="half of them records, half of them answers")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="a random one without it")
    options = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="scribe-hostile-"))
    with real_kafka() as cluster:
        report = asyncio.run(run(cluster.bootstrap, ROLES, folder, options.n // 2, options.seed))
    for complaint in report.complaints[:MOST_SHOWN]:
        print(f"hostile: {complaint}", file=sys.stderr)
    print(f"seed {options.seed}: {report.line()}", flush=True)
    if report.complaints:
        print(f"hostile: the service's log is in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
