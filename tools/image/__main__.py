"""`python -m tools.image`: builds the image of this checkout unless it is there, and measures it.

With --reference it prints, as JSON, the image's name and how podman finds and runs it.
"""

import argparse
import json
import sys

from tools.image import build, figures, provenance, storage

OUT = build.ROOT / "dist"
SBOM = "/usr/share/scribe/sbom.cdx.json"


def main() -> int:
    """Build; then print figures, or the reference."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    parser.add_argument(
        "--extras", default="", help="optional extras that it shall hold, separated by spaces"
    )
    parser.add_argument("--reference", action="store_true", help="print how to find it, as JSON")
    options = parser.parse_args()
    try:
        source = build.ensure(options.extras)
        reference = build.named(source, options.extras)
        if options.reference:
            podman = ["podman", *storage.podman_arguments()]
            print(json.dumps({"image": reference, "podman": podman, "run": storage.run_arguments()}))
        else:
            print(f"image {reference}\n{figures.measure(reference)}")
            written = provenance.write(OUT, source, reference, options.extras)
            bill = OUT / "image.sbom.cdx.json"
            bill.write_text(figures.python_in(reference, f"print(open({SBOM!r}).read(), end='')"))
            print(f"statements {written} {bill}")
    except storage.ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
