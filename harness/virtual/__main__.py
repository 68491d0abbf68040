"""`python -m harness.virtual`: runs one virtual iPhone until it is told to end.

Prints one JSON line when it can be reached, and nothing else on standard output:
``{"usbmux": "127.0.0.1:PORT" or a socket's path, "udid": …, "home": …, "pid": …, "profile": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from harness.virtual.home import Home, HomeTaken, open_home
from harness.virtual.profiles import BadProfile, check_profile, make_state, parse_settings, profile_names

WRONG_USE = 2
STDIN_READ_BYTES = 4096
SWITCH_INTERVAL_S = 0.0005
# a sockaddr_un holds 108 bytes with the final NUL
SOCKET_PATH_LIMIT_BYTES = 107


def main(arguments: list[str] | None = None) -> int:
    """Runs a phone; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING, format="%(asctime)s %(name)s %(message)s"
    )
    if not sys.platform.startswith("linux"):
        parser.error("a virtual phone needs Linux: it reads the memory of its apps from /proc")
    try:
        settings = parse_settings(options.set)
        check_profile(options.profile)
        address = _address(options.listen)
        home = open_home(options.profile, options.home)
    except (BadProfile, HomeTaken) as error:
        parser.error(str(error))
    try:
        make_state(options.profile, settings, home.path, home.identity)
    except BadProfile as error:
        parser.error(str(error))
    try:
        asyncio.run(_run(options, settings, home, address))
    except OSError as error:
        parser.error(f"the phone cannot start: {error}")
    finally:
        home.release()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.virtual", description="Runs a virtual iPhone.")
    parser.add_argument("--profile", default="iphone-16-pro", help=f"one of: {', '.join(profile_names())}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as footprint_limit=90MiB")
    parser.add_argument("--home", type=Path, help="where it keeps its things; a free slot of its own by default")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="default: a free loopback port")
    where.add_argument("--socket", type=Path, metavar="PATH", help="a unix socket instead")
    parser.add_argument("--die-with-parent", action="store_true", help="end when standard input ends")
    parser.add_argument("--verbose", action="store_true", help="log every dropped client to standard error")
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise BadProfile(f"--listen {text!r} is no HOST:PORT, such as 127.0.0.1:27015")
    return host, int(port)


async def _run(options: argparse.Namespace, settings: dict[str, str], home: Home, address: tuple[str, int]) -> None:
    # imported late: `--help` and wrong use should not wait for cryptography and every service
    from harness.virtual.phone import Phone
    from harness.virtual.server import Usbmuxd
    from harness.virtual.services import CLASSIC
    from harness.virtual.usecases import ControlSocket, Usecases

    # the watch threads must get their turn every few milliseconds, also while a transfer keeps the loop busy
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.die_with_parent:
        _stop_at_end_of_input(loop, stop)
    phone = Phone(make_state(options.profile, settings, home.path, home.identity), CLASSIC)
    usbmuxd = Usbmuxd(phone)
    control = ControlSocket(Usecases(phone, usbmuxd), home.path / "control.sock")
    socket: Path | None = options.socket
    try:
        if socket is None:
            reached = ":".join(map(str, await usbmuxd.start_tcp(*address)))
        else:
            await usbmuxd.start_unix(_short_enough(socket))
            reached = str(socket.resolve())
        usbmuxd.plug()
        await control.start()
        line = {"usbmux": reached, "udid": phone.state.udid, "home": str(home.path)}
        print(  # noqa: T201  # this line is the command's whole output
            json.dumps({**line, "pid": os.getpid(), "profile": options.profile}), flush=True
        )
        await stop.wait()
    finally:
        await control.close()
        await usbmuxd.close()
        await phone.close()
        if socket is not None:
            socket.unlink(missing_ok=True)


def _short_enough(path: Path) -> Path:
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT_BYTES:
        raise OSError(
            f"{path} is too long for a unix socket ({SOCKET_PATH_LIMIT_BYTES} bytes): choose a shorter --socket"
        )
    return path


def _stop_at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Ends the phone when its standard input does: the parent keeps a pipe open for as long as it lives."""

    def watch() -> None:
        # os.read and not sys.stdin: a thread inside the buffered reader would block the interpreter's end
        while os.read(0, STDIN_READ_BYTES):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
