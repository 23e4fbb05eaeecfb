"""`python -m sandbox COMMAND ...`: hands over to the command; it knows nothing but their names."""

import importlib
import sys

COMMANDS = {
    "demo": ("sandbox.demo", "transcribe recordings end to end, once"),
    "simulate": ("sandbox.simulator", "serve a provider that looks like DashScope"),
    "broker": ("sandbox.broker", "run the embedded broker until Ctrl-C"),
    "kafka": ("sandbox.kafka", "run real Apache Kafka until Ctrl-C (needs Java 17)"),
    "cluster": ("sandbox.cluster", "build what a test cluster of Kubernetes is made of (needs Go)"),
}
"""Each names a module with `main(argv) -> exit code`, imported only when asked for, and what it does."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        asked_for_help = argv[:1] in (["-h"], ["--help"])
        print("usage: python -m sandbox COMMAND [OPTIONS]   (COMMAND --help tells its options)\n")
        for name, (_module, purpose) in COMMANDS.items():
            print(f"  {name:10}{purpose}")
        return 0 if asked_for_help else 2
    module, _purpose = COMMANDS[argv[0]]
    code: int = importlib.import_module(module).main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
