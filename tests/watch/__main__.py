"""Plays the whole storm: three replicas, real Kafka, a real Prometheus with the alerts sixty times as fast.

    python -m tests.watch [--only PHASE ...] [--out FOLDER]

Ends with 1 where an alert is missing in its phase, fires in another, or a panel shows nothing in its phase.
With `--out` it draws the dashboards (needs matplotlib, `requirements/bench.txt`).
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.stack import own_kafka, own_stack
from sandbox.kafka import Cluster
from sandbox.simulator import SimulatorConfig, serve
from tests.integration.prometheus import prometheus
from tests.watch.panels import blind_panels
from tests.watch.phases import PARTITIONS, PHASES, SETTINGS
from tests.watch.storm import NAMES, Phase, Played, Storm, followed, play

SESSION_SECONDS = 6
MODULE = "tests.watch.worker"


async def run(cluster: Cluster, folder: Path, phases: Sequence[Phase], out: Path | None) -> int:
    """Play phases; the exit code."""
    own = {name: {"SCRIBE_KAFKA__GROUP_INSTANCE_ID": name} for name in NAMES}
    settings = {**SETTINGS, "SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS)}
    async with AsyncExitStack() as held:
        sim = await held.enter_async_context(serve(SimulatorConfig(speed=10)))
        stack = await held.enter_async_context(
            own_stack(cluster.bootstrap, sim, folder, MODULE, partitions=PARTITIONS)
        )
        server = await held.enter_async_context(prometheus(folder))
        storm = Storm(stack, server, folder, cluster=cluster, settings=settings, own=own)
        await storm.start(*(storm.names[:1] if phases[0].name == "health" else storm.names))
        await held.enter_async_context(followed(storm))
        begin, played, failed = time.time(), dict[str, Played](), list[str]()
        drawn: list[Played] = []
        for phase in phases:
            print(f"{phase.name} ...", end=" ", flush=True)
            phase_begin = time.time()
            try:
                played[phase.name] = await play(storm, phase)
            except (AssertionError, TimeoutError) as error:
                failed.append(phase.name)
                print(f"FAILED: {error}"[:2000], flush=True)
                await storm.recover()
                drawn.append(Played(f"{phase.name} (failed)", phase_begin, time.time(), frozenset()))
            else:
                print(played[phase.name], flush=True)
                drawn.append(played[phase.name])
        blind = await blind_panels(server, played)
        print(f"{len(played)} phases were as they should be, in {time.time() - begin:.0f} s")
        print(f"phases that failed: {failed}; panels that show nothing: {blind}", flush=True)
        if out is not None:
            from benchmarks.plots.storm import draw_all  # noqa: PLC0415 - needs matplotlib

            await draw_all(server, drawn, out)
    return 1 if blind or failed else 0


def main() -> int:
    """Play the storm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [phase.name for phase in PHASES]
    parser.add_argument("--only", nargs="*", default=[], choices=names, help="phases; all without it")
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    options = parser.parse_args()
    phases = [each for each in PHASES if not options.only or each.name in options.only]
    with own_kafka() as (cluster, folder):
        return asyncio.run(run(cluster, folder, phases, options.out))


if __name__ == "__main__":
    sys.exit(main())
