"""`python -m service.cli.livez`: asks the service of this container for /livez; exits 1 if it is not well.

For the image's HEALTHCHECK, which runs it every 30 s: it imports neither the settings nor a client, which
would cost a second of the processor each time.
"""

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened at
_WAIT_SECONDS = 5.0


def complaint(environment: Mapping[str, str]) -> str | None:
    """Why the service at the address of SCRIBE_HTTP__HOST and SCRIBE_HTTP__PORT is not well, or None."""
    # As for the settings, an empty variable is none.
    host = environment.get("SCRIBE_HTTP__HOST") or "0.0.0.0"  # noqa: S104
    port = environment.get("SCRIBE_HTTP__PORT") or "8080"
    try:
        connection = HTTPConnection(_ANY.get(host, host), int(port), timeout=_WAIT_SECONDS)
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        reason = answer.read().decode(errors="replace").strip()
    except (OSError, HTTPException, ValueError) as error:
        return f"/livez does not answer at {host}, port {port}: {error}"
    return None if answer.status == 200 else reason


if __name__ == "__main__":
    sys.exit(complaint(os.environ))
