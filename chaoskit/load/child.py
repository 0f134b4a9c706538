"""Starting Locust as a child process: its arguments, its environment, its place in the queue for a processor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import chaoskit

LOCUSTFILE = Path(chaoskit.__file__).with_name("locustfile.py")
_REAL_TIME_PRIORITY = 1  # the lowest: above every ordinary process, below whatever else is real-time


def locust_argv(locustfile: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "--locustfile", str(locustfile)),
        *("--headless", "--only-summary", "--loglevel", "INFO", "--exit-code-on-error", "0"),
        *more,
    ]


def locust_environment(*more: Mapping[str, str]) -> dict[str, str]:
    """Our own without the user's LOCUST_ settings, and what is given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    for variables in more:
        environment.update(variables)
    return environment


def start_locust(
    argv: Sequence[str], environment: Mapping[str, str], run_dir: Path, log: Path, channel_end: int
) -> subprocess.Popen[bytes]:
    """Its output goes to `log`, and it inherits its end of the channel."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=run_dir,  # so that no locust.conf of the user's folder is read
            env=environment,
            pass_fds=(channel_end,),
            start_new_session=True,  # Ctrl-C in the terminal is for the controller alone
        )


def log_tail(log: Path, count: int) -> str:
    """The last lines, for people; "" without a log."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-count:])
    return ""


def prefer(pid: int) -> None:
    """Let the worker run first: what waits for a processor inside it would count as the cluster's latency.

    Only root may ask for that. It uses a fraction of a core, so the cluster keeps the rest; others run as they are.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))


def exit_words(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
