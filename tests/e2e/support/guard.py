#!/usr/bin/python3
"""guard.py PARENT PID_FILE UID GID COMMAND... - runs one server of a test run and lets nothing of it survive.

The guard is a subreaper: what its server forks and orphans becomes its child. It ends the whole lot when it is
told to (SIGTERM), when its server ends, and when the process that started it (PARENT) is gone, however that died.
The server's own process id goes to PID_FILE, so that a test can signal it directly.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10
libc = ctypes.CDLL(None, use_errno=True)


def descendants(root):
    """Process ids of all living descendants of root."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append((int(name), fields[0] not in "ZX"))
    # The dead are no result, but lead to children that were read before their parent's death.
    found, queue = [], [root]
    while queue:
        for pid, alive in parents.get(queue.pop(), []):
            queue.append(pid)
            if alive:
                found.append(pid)
    return found


def kill_all(root):
    """SIGKILL until twice nothing is left: /proc is read while it changes, and new forks are for the next round.
    Returns the ended children as reap() does."""
    empty, ended = 0, {}
    for _ in range(100):
        left = descendants(root)
        empty = 0 if left else empty + 1
        if empty == 2:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        ended.update(reap())
        time.sleep(0.005)
    return ended


def reap():
    """Collects ended children; returns {pid: status}."""
    ended = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def start(command, uid, gid):
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if os.getuid() == 0 and uid != 0:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"guard: {command[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def main():
    parent, pid_file, uid, gid, command = (int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]),
                                           sys.argv[5:])
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    watched = {signal.SIGTERM, signal.SIGCHLD}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    server = start(command, uid, gid)
    with open(pid_file + ".new", "w", encoding="ascii") as out:
        out.write(str(server))
    os.rename(pid_file + ".new", pid_file)
    deadline, ended = None, {}
    while server not in ended:
        if os.getppid() != parent and deadline is None or deadline is not None and time.monotonic() > deadline:
            ended.update(kill_all(os.getpid()))
            continue
        timeout = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
        told = signal.sigtimedwait(watched, timeout)
        if told is not None and told.si_signo == signal.SIGTERM and deadline is None:
            deadline = time.monotonic() + GRACE_S
            try:
                os.kill(server, signal.SIGTERM)
            except ProcessLookupError:
                pass
        ended.update(reap())
    kill_all(os.getpid())
    sys.exit(os.waitstatus_to_exitcode(ended[server]) & 0xFF)


if __name__ == "__main__":
    main()
