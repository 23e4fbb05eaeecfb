"""Runs a real Kubernetes control plane on loopback, with a node that runs pods as processes, for tests."""

import argparse
import sys
import time

from sandbox.child import ServerStartError
from sandbox.cluster.api import Access, Api, ApiError, Document
from sandbox.cluster.plane import NODE, Cluster, real_cluster
from sandbox.cluster.programs import fetch_programs, missing

__all__ = ["NODE", "Access", "Api", "ApiError", "Cluster", "Document", "main", "missing", "real_cluster"]


def main(argv: list[str]) -> int:
    """`python -m sandbox cluster --fetch`: build and fetch what a cluster is made of, unless it is here."""
    parser = argparse.ArgumentParser(prog="python -m sandbox cluster", description=__doc__)
    parser.add_argument("--fetch", action="store_true", required=True, help="build what is missing")
    parser.parse_args(argv)
    began = time.monotonic()
    try:
        fetch_programs()
    except ServerStartError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    print(
        f"the programs of a test cluster are here, after {time.monotonic() - began:.0f} s.", file=sys.stderr
    )
    return 0
