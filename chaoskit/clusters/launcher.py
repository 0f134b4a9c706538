"""Becomes a server, after giving it its place and tying its life to the controller's. A script, not a module.

    python -I -S launcher.py PARENT_PID REPORT_FD HOSTS_FILE DISK NAMESPACES GROUPS PROGRAM ARGUMENT…

HOSTS_FILE is its own /etc/hosts. DISK, as `bytes:folder`, is a file system in memory that only it and those see who
enter its NAMESPACES, given as a pid. GROUPS are `cgroup.procs` files, separated by colons, of cgroups to be in. Each
may be "". What goes wrong is written to REPORT_FD; when the server runs, that descriptor closes without a word.
Standard library only, and as little of it as possible: this is start time.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_libc = ctypes.CDLL(None, use_errno=True)


def main(parent: int, report: int, place: list[str], argv: list[str]) -> None:
    hosts, disk, namespaces, groups = place
    fcntl.fcntl(report, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    try:
        joined = [os.open(group, os.O_WRONLY | os.O_CLOEXEC) for group in groups.split(":") if group]
        if namespaces:
            enter(namespaces)
        elif hosts:
            own_mounts()
            mount(hosts, "/etc/hosts", MS_BIND)
        if disk:
            size, _, folder = disk.partition(":")
            mount("tmpfs", folder, 0, "tmpfs", f"size={size},mode=0700")
        for group in joined:  # last, so that nothing of this script counts in them
            os.write(group, b"0")
        # after the namespaces, because a change of credentials makes the kernel forget the signal
        _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
        if os.getppid() != parent:
            return  # the controller died before the kernel knew that we wanted to be told
        os.execv(argv[0], argv)  # noqa: S606  no shell is the point
    except OSError as error:
        os.write(report, f"{error.strerror} ({error.filename or argv[0]})".encode())
        sys.exit(1)


def own_mounts() -> None:
    """A mount namespace of our own: directly as root, through a user namespace as anybody else."""
    if os.geteuid() != 0 or _libc.unshare(_CLONE_NEWNS) != 0:  # root in a container may not either
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "user namespace")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    mount("none", "/", MS_REC | _MS_PRIVATE)


def enter(pid: str) -> None:
    """Another process's mounts, by way of its user namespace when that is not ours."""
    for kind in ("user", "mnt"):
        path = f"/proc/{pid}/ns/{kind}"
        if os.stat(path).st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino:  # noqa: PTH116  no pathlib: start time
            continue
        descriptor = os.open(path, os.O_RDONLY)
        _check(_libc.setns(descriptor, 0), f"{kind} namespace of {pid}")
        os.close(descriptor)


def mount(source: str, target: str, flags: int, kind: str = "", options: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount on {target}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:7], sys.argv[7:])
