"""Says what an image was built from, as an in-toto statement with a SLSA predicate; it is not signed.

All digests in it were computed or read here: it names none that was not.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tools.image import stand_in, storage
from tools.image.build import ROOT, Source

LISTS = ("requirements/runtime.txt", "requirements/demo.txt")
"""The locked lists that the build installs from; the demo's has the build backend."""


def statement(source: Source, reference: str, extras: str = "") -> dict[str, Any]:
    """Commit, lists and base of an image that is here."""
    image = storage.podman("image", "inspect", "--format", "{{.Digest}}", reference).strip()
    lists = [*LISTS, *(f"requirements/{name}.txt" for name in extras.split())]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": reference, "digest": _split(image)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "buildah bud --isolation chroot --format docker --timestamp",
                "externalParameters": {"dockerfile": "Dockerfile", "extras": extras.split()},
                "internalParameters": {"timestamp": source.committed_at},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": source.revision.removesuffix("-dirty")}},
                    *({"name": each, "digest": {"sha256": _sha256(ROOT / each)}} for each in lists),
                    {
                        "name": stand_in.BASE,
                        "digest": _split(source.base_digest),
                        "annotations": {"stand-in": stand_in.__doc__},
                    },
                ],
            },
            "runDetails": {
                "builder": {"id": "make image"},
                "metadata": {"uncommittedChanges": source.revision.endswith("-dirty")},
            },
        },
    }


def write(folder: Path, source: Source, reference: str, extras: str = "") -> Path:
    """Write it into the folder, and hand back the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "image.provenance.json"
    path.write_text(json.dumps(statement(source, reference, extras), indent=1) + "\n")
    return path


def _split(digest: str) -> dict[str, str]:
    kind, _, value = digest.partition(":")
    return {kind: value}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
