"""`harness report --serve`: starts the server and stays until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from harness.cli.console import talk
from harness.store.address import ResultsAddress


def serve(address: ResultsAddress, *, port: int = 0, host: str | None = None) -> None:
    """Prints the address to open on stdout and serves until Ctrl-C or SIGTERM, which end it in order (exit code 0).

    Raises UsageError for another host than the loopback, a port that is taken, results that there are not.
    """
    from harness.report.serve import SiteServer
    from harness.report.serve_target import HOST

    server = SiteServer(address, port, HOST if host is None else host)
    before = signal.signal(signal.SIGTERM, _like_ctrl_c)
    try:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        talk(f"serving {address.text} to this machine only, read-only; live: {server.url}live; Ctrl-C ends it")
        server.serve_forever()
    except KeyboardInterrupt:
        talk("ended")
    finally:
        server.close()
        signal.signal(signal.SIGTERM, before)


def _like_ctrl_c(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
