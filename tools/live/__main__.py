"""The program: exit code 0 when nothing is different, 1 when something is, 2 when nothing was asked."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from service.errors import ConfigError
from tools.live.account import USUAL, Account, Pace, Samples, observed
from tools.live.inquiries import INQUIRIES, Row, answered, headers_row
from tools.live.plan import SAMPLES, Plan, cost, read_plan
from tools.live.questions import ErrorPolicy
from tools.live.table import markdown, summary


def main(environ: Mapping[str, str], samples: Samples = SAMPLES, pace: Pace = USUAL) -> int:
    """Ask whom the environment says; the exit code."""
    try:
        plan = read_plan(environ)
    except ConfigError as error:
        print(f"make live: {error}.", file=sys.stderr)
        return 2
    print(cost(plan), file=sys.stderr)
    if not plan.is_confirmed:
        print("Nothing was sent. CONFIRM=yes asks.", file=sys.stderr)
        return 2
    rows = asyncio.run(ask_all(plan, samples, pace))
    page = markdown(rows, plan.host, f"{datetime.now(UTC):%Y-%m-%d}")
    _write(page, plan.out)
    print(summary(rows), file=sys.stderr)
    return int(any(row.policy is ErrorPolicy.DIFFERENT for row in rows))


def _write(page: str, out: Path | None) -> None:
    """To the file; to the screen where there is none, or it cannot be written: what was paid for is shown."""
    try:
        if out is not None:
            out.write_text(page)
            return
    except OSError as error:
        print(f"make live: {out} was not written: {error.strerror}.", file=sys.stderr)
    print(page, end="")


async def ask_all(plan: Plan, samples: Samples, pace: Pace) -> tuple[Row, ...]:
    """Every question's row, in order; says on the screen how far it is."""
    rows: list[Row] = []
    async with observed(plan.config) as provider:
        account = Account(provider, samples, pace)
        for inquiry in INQUIRIES:
            rows += await answered(account, inquiry, plan.region)
            print(f"{len(rows)} answers", file=sys.stderr)
        return (*rows, headers_row(account))


if __name__ == "__main__":
    sys.exit(main(os.environ))
