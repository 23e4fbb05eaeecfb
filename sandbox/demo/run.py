"""One run of the demo, from its plan to its exit code."""

import logging
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sandbox.child import ServerStartError
from sandbox.demo.ending import Ending, Interrupted
from sandbox.demo.log import log_file
from sandbox.demo.plan import DemoError, Plan, read_plan
from sandbox.demo.screen import Screen
from sandbox.demo.servers import running

_LOG = logging.getLogger(__name__)

# What takes long to import is imported by those who need it, once the servers are on their way.
# ruff: noqa: PLC0415


def run(environ: Mapping[str, str], ending: Ending) -> int:
    """Do what the environment asks for; every error becomes a sentence."""
    screen = Screen()
    try:
        plan = read_plan(environ)
        if plan.is_live and not _is_agreed(plan, screen):
            return 2
        ending.check()
        for note in plan.notes:
            screen.say(note, "yellow")
        screen.say(_introduction(plan))
        with log_file() as log_path:
            return _demonstrate(plan, log_path, screen, ending)
    except DemoError as error:
        screen.complain(f"make demo: {error}")
        return error.code


def _introduction(plan: Plan) -> str:
    count = len(plan.names)
    if plan.is_live:
        return f"{count} on the way to the real provider through Scribe, with a broker on this machine."
    what = "recording" if count == 1 else "recordings"
    return f"{count} {what} through Scribe, with a broker and a provider simulator on this machine."


def _is_agreed(plan: Plan, screen: Screen) -> bool:
    from sandbox.demo.cost import estimate

    for sentence in estimate(plan):
        screen.say(sentence)
    if not plan.is_confirmed:
        screen.complain("Nothing was sent. Add CONFIRM=1 to the same command to send it.")
    return plan.is_confirmed


def _demonstrate(plan: Plan, log_path: Path, screen: Screen, ending: Ending) -> int:
    """Run it all; whatever goes wrong from here on, the log is named."""
    try:
        failed = _transcribe(plan, log_path, screen, ending)
    except (DemoError, ServerStartError) as error:
        screen.complain(f"make demo: {error}")
    except Interrupted:
        with suppress(OSError):  # the terminal may be gone
            screen.complain("Stopped; nothing is left running.")
            if plan.is_live:
                screen.complain("What was sent by then is billed, and its transcripts are lost.")
        return ending.exit_code
    except Exception as error:  # noqa: BLE001 - the trace goes to the log, a sentence to the screen
        _LOG.exception("unforeseen")
        screen.complain(f"make demo: something unforeseen went wrong ({type(error).__name__}).")
    else:
        return 1 if failed else 0
    screen.complain(f"What the servers logged is in {log_path}")
    return 1


def _transcribe(plan: Plan, log_path: Path, screen: Screen, ending: Ending) -> int:
    """Start everything, show every outcome, stop everything; the number of files without a transcript."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="scribe-demo-", ignore_cleanup_errors=True) as folder,
        screen.working("Starting a broker, a provider and the service") as status,
        running(Path(folder), log_path, plan.provider_settings) as servers,
    ):
        ending.check()
        from sandbox.demo import session

        failed = session.run(session.Session(plan, servers, screen, status), ending)
        done = len(plan.names) - failed
        status.update("Stopping")
        screen.say()
        screen.say(f"{done} of {len(plan.names)} transcribed in {time.monotonic() - began:.1f} s.")
    screen.say(f"What the servers logged is in {log_path}", "dim")
    return failed
