"""Runs a Python module as the user `nobody`; to be started by root.

    python as_nobody.py SCRATCH FOLDERS MODULE ARGUMENT…

FOLDERS (joined by `:`) are what it must be able to read. Where they lie in a folder that is closed to others, such as
/root, that folder is replaced by one that holds nothing else, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from chaoskit.clusters.launcher import MS_BIND, MS_REC, mount, own_mounts


def main(scratch: Path, folders: list[Path], command: list[str]) -> None:
    own_mounts()
    closed = {parent for folder in folders for parent in folder.parents if not parent.stat().st_mode & 0o001}
    for number, parent in enumerate(sorted(closed)):
        open_up(scratch / str(number), parent, [folder for folder in folders if folder.is_relative_to(parent)])
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    os.execv(sys.executable, [sys.executable, "-m", *command])


def open_up(view: Path, closed: Path, folders: list[Path]) -> None:
    for folder in folders:
        shown = view / folder.relative_to(closed)
        shown.mkdir(parents=True)
        mount(str(folder), str(shown), MS_BIND)
    mount(str(view), str(closed), MS_BIND | MS_REC)


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2].split(":")], sys.argv[3:])
