"""How a run is told to stop early: by a person, a signal, or a test bed that broke.

The first Ctrl-C or SIGTERM lets the run heal, drain and report. The second ends the process at once; every member and
worker carries a parent-death signal and goes with it, and `chaoskit clean` removes what is left on disk.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from chaoskit.runner.judge import Interruption

_SIGNALS: dict[signal.Signals, Interruption] = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}


class Stop:
    """Set once, with the reason; every wait of a run waits on it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.interruption: Interruption = ""
        self._nothing_to_heal = False
        self.failure = ""  # why the test bed cannot go on

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep; True when the run is to stop."""
        return self._event.wait(max(0.0, seconds))

    def fail(self, why: str) -> None:
        """The test bed cannot go on; the first reason stays."""
        self.failure = self.failure or why
        self._event.set()

    def cut_short(self) -> None:
        """What is left of the method is not worth doing; nothing broke."""
        self._event.set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM while inside; only from the main thread."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While inside, a signal raises KeyboardInterrupt: there is nothing to heal yet, and a build takes minutes."""
        self._nothing_to_heal = True
        try:
            yield
        finally:
            self._nothing_to_heal = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is signal's
        if self.interruption:
            os.write(sys.stderr.fileno(), b"\nstopped hard; `chaoskit clean` removes what is left\n")
            os._exit(128 + number)
        self.interruption = _SIGNALS[signal.Signals(number)]
        if self._nothing_to_heal:
            self._event.set()
            raise KeyboardInterrupt
        os.write(sys.stderr.fileno(), b"\nstopping: healing, draining, reporting; once more to stop hard\n")
        self._event.set()
