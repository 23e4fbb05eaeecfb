"""What a signal does to the demo: it is noted at once, and raises nothing where nobody expects it."""

import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from sandbox.demo.ending import Ending, Interrupted

DISPOSITIONS: dict[signal.Signals, Callable[[int, FrameType | None], object] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What a process has that was started at a terminal; `nohup` and a shell's `&` leave some of them ignored."""
SIGNALS = tuple(DISPOSITIONS)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, usual) for number, usual in DISPOSITIONS.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_raises_where_asked_for_and_decides_the_exit_code(
    number: signal.Signals,
) -> None:
    with Ending() as ending:
        ending.check()
        os.kill(os.getpid(), number)
        for later in SIGNALS:
            os.kill(os.getpid(), later)
        with pytest.raises(Interrupted):
            ending.check()
        assert ending.exit_code == 128 + number
    os.kill(os.getpid(), number)  # even after the block: the interpreter may still be cleaning up


def test_inside_a_loop_the_callback_is_called_once() -> None:
    calls: list[None] = []
    with Ending() as ending:
        with ending.calling(lambda: calls.append(None)):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        assert len(calls) == 1


def test_a_signal_that_came_before_the_loop_ends_it_at_once() -> None:
    with Ending() as ending:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted), ending.calling(lambda: pytest.fail("too late")):
            pytest.fail("it must not begin")


def test_without_a_signal_everything_is_as_before_and_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in SIGNALS]
    with Ending() as ending:
        os.kill(os.getpid(), signal.SIGHUP)
        ending.check()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_signal_amid_the_handling_of_the_first_changes_nothing() -> None:
    with Ending() as ending:
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with ending.calling(lambda: handler(signal.SIGTERM, None)):
            handler(signal.SIGINT, None)
        assert ending.exit_code == 130
