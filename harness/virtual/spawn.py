"""The trampoline every app of a virtual phone starts through: `python -I -S spawn.py PARENT STATUS_FD DATA EXE ARG…`.

It makes the kernel kill the app when the phone dies (also of kill -9), sets the limits, and becomes the app. It runs
alone, without the package on its path: standard library only. A failure to become the app is written to STATUS_FD;
success closes it silently, because the descriptor does not survive the exec.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
FAILED = 127


def main(arguments: list[str]) -> int:
    """Becomes the app; returns only when that failed."""
    parent, status_fd, data_limit, executable, *rest = arguments
    os.set_inheritable(int(status_fd), False)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != int(parent):  # the phone died before the line above: no signal will ever come
            return FAILED
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (int(data_limit), int(data_limit)))
        os.execve(executable, [executable, *rest], os.environ)  # noqa: S606  # becoming the app is the point
    except OSError as error:
        os.write(int(status_fd), str(error).encode())
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
