"""`python -m harness.virtual`: runs virtual iPhones, behind one usbmuxd, until it is told to end.

Prints one JSON line when they can be reached, and nothing else on standard output:
``{"usbmux": "127.0.0.1:PORT" or a socket's path, "pid": …, "udid": …, "home": …, "profile": …, "phones": [{"udid": …,
"home": …, "profile": …}, …]}``; what stands before `phones` is the first of them.
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
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from harness.virtual.home import HomeTaken
from harness.virtual.hosting import HousedPhone, house_phones, plan_phones, start_phones
from harness.virtual.profiles import SETTINGS, BadProfile, profile_names

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

DEFAULT_PROFILE = "iphone-16-pro"
WRONG_USE = 2
STDIN_READ_BYTES = 4096
SWITCH_INTERVAL_S = 0.0005
# a sockaddr_un holds 108 bytes with the final NUL
SOCKET_PATH_LIMIT_BYTES = 107


def main(arguments: list[str] | None = None) -> int:
    """Runs the phones; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING, format="%(asctime)s %(name)s %(message)s"
    )
    if not sys.platform.startswith("linux"):
        parser.error("a virtual phone needs Linux: it reads the memory of its apps from /proc")
    with ExitStack() as homes:
        try:
            address = _address(options.listen)
            plans = plan_phones(options.profile or [DEFAULT_PROFILE], options.count, options.set)
            housed = house_phones(plans, options.home, homes)
        except (BadProfile, HomeTaken) as error:
            parser.error(str(error))
        try:
            asyncio.run(_run(options, housed, address))
        except OSError as error:
            parser.error(f"the phone cannot start: {error}")
    return 0


def _parser() -> argparse.ArgumentParser:
    settings = "\n".join(f"  {name}={setting.form}: {setting.meaning}" for name, setting in SETTINGS.items())
    parser = argparse.ArgumentParser(
        prog="python -m harness.virtual",
        description="Runs virtual iPhones behind one usbmuxd.",
        epilog=f"profiles: {', '.join(profile_names())}\n\nsettings:\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--profile",
        action="append",
        metavar="NAME[,KEY=VALUE…]",
        help=f"a phone, with settings of its own; again for another one; default: {DEFAULT_PROFILE}",
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="so many of each profile")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every phone")
    parser.add_argument(
        "--home", type=Path, help="where it keeps its things (several: 1, 2… below); free slots by default"
    )
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


async def _run(options: argparse.Namespace, housed: list[HousedPhone], address: tuple[str, int]) -> None:
    # the watch threads must get their turn every few milliseconds, also while a transfer keeps the loop busy
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.die_with_parent:
        _stop_at_end_of_input(loop, stop)
    socket: Path | None = options.socket
    async with AsyncExitStack() as stack:
        usbmuxd, phones = await start_phones(housed, stack)
        if socket is None:
            reached = ":".join(map(str, await usbmuxd.start_tcp(*address)))
        else:
            await usbmuxd.start_unix(_short_enough(socket))
            stack.callback(socket.unlink, missing_ok=True)
            reached = str(socket.resolve())
        for phone in phones:
            usbmuxd.plug(phone)
        print(json.dumps(_line(reached, phones)), flush=True)  # noqa: T201  # the command's whole output
        await stop.wait()


def _line(reached: str, phones: Sequence[Phone]) -> dict[str, object]:
    rows = [
        {"udid": phone.state.udid, "home": str(phone.state.home), "profile": phone.state.profile} for phone in phones
    ]
    return {"usbmux": reached, "pid": os.getpid(), **rows[0], "phones": rows}


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
