"""`make demo`: recordings go through a whole Scribe on this machine and come back as text, once.

Nothing of it is left when it ends, however it ends, except its log.
"""

import importlib
import os
from collections.abc import Callable, Mapping

from sandbox.demo.ending import Ending, Interrupted

_HELP = """\
usage: make demo [AUDIO="..."] [URLS="..." CONFIRM=1], or the same variables before `python -m sandbox demo`

Without any variable the bundled recordings are transcribed by a provider simulator with a small English
Whisper model: no account, no network, no cost.

  AUDIO="a.wav b.mp3"    your own files instead, quoted as in a shell
  DASHSCOPE_API_KEY=...  with URLS: the real provider, billed to this key; alone it is not used
  URLS="https://..."     audio that the provider can download
  CONFIRM=1              send the URLs; without it only the estimated cost is shown

exit codes: 0 all transcribed, 1 something failed, 2 wrong usage or not confirmed, 130 Ctrl-C
"""


def main(argv: list[str]) -> int:
    """Run the demo that the environment describes; the exit code."""
    if argv:
        print(_HELP, end="")
        return 0 if argv in (["-h"], ["--help"]) else 2
    with Ending() as ending:
        try:
            # Imported only here, for the signals that come meanwhile.
            run: Callable[[Mapping[str, str], Ending], int] = importlib.import_module("sandbox.demo.run").run
            return run(os.environ, ending)
        except Interrupted:
            return ending.exit_code
