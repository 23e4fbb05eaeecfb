"""Runs real Apache Kafka (KRaft) on loopback, for tests and for people; nothing in it lasts."""

import argparse
import sys

from sandbox import foreground
from sandbox.child import ServerStartError
from sandbox.kafka.cluster import Cluster, real_kafka
from sandbox.kafka.jars import DOWNLOAD_MB, console_consumer, fetch_jars, jars_folder, missing
from sandbox.kafka.node import Node
from sandbox.kafka.security import Security

__all__ = ["Cluster", "Node", "Security", "fetch_jars", "main", "missing", "real_kafka"]


def main(argv: list[str]) -> int:
    """`python -m sandbox kafka`: fetch the server when it is not here, and run it until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m sandbox kafka", description=__doc__)
    parser.add_argument("--port", type=int, help="listen on 127.0.0.1:PORT; a free port without it")
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3), help="brokers of the cluster")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars")
    options = parser.parse_args(argv)
    if not jars_folder().is_dir():
        print(f"fetching Apache Kafka ({DOWNLOAD_MB} MB, once) to {jars_folder()}", file=sys.stderr)
    if not options.fetch:
        return foreground.run(real_kafka(nodes=options.nodes, port=options.port), _advice)
    try:
        fetch_jars()
    except ServerStartError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def _advice(bootstrap: str) -> str:
    return f"console consumer: {console_consumer(bootstrap, 'transcription.results')}"
