"""Switching a phone's USB port off and on, by a program of the host's owner (`uhubctl`): the last help for a phone that
no longer answers. The program is called without a shell, and may take a bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import DeviceError, UsageError
from harness.core.text import printable
from harness.device.usb import LINUX_USB_DEVICES, port_of

CYCLE_LIMIT_S = 60.0
BACK_LIMIT_S = 20.0
"""A phone whose port is on again needs so long until usbmuxd has it."""
PLACES = ("udid", "location", "port")
FLAG = "--usb-cycle"
_UDID = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f-]{0,63}\Z")
_PLACE = re.compile(r"\{([^{}]*)\}")


def parse_usb_cycle(text: str) -> tuple[str, ...]:
    """The command's words, as a shell would part them. Raises UsageError for unknown places and for what is none."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{FLAG}: cannot be parted into words: {error}") from None
    if not words:
        raise UsageError(f"{FLAG}: it is empty; a program and its arguments, as in {EXAMPLE!r}")
    for word in words:
        unknown = [place for place in _PLACE.findall(word) if place not in PLACES]
        if unknown:
            known = ", ".join(f"{{{place}}}" for place in PLACES)
            raise UsageError(f"{FLAG}: {{{unknown[0]}}} is not known; there are {known}")
    return words


EXAMPLE = "uhubctl -a cycle -l {location} -p {port}"


def filled_in(command: Sequence[str], udid: str, devices: Path = LINUX_USB_DEVICES) -> list[str]:
    """The command for one phone. Raises DeviceError when its port is asked for, and this host does not tell it.

    A phone says its UDID itself: one that could be another option or a path to the program is refused.
    """
    if not _UDID.match(udid):
        raise DeviceError(f"phone {printable(udid[:100])}: no UDID, so no program is called with it")
    values = {"udid": udid}
    if any(f"{{{place}}}" in word for word in command for place in ("location", "port")):
        port = port_of(udid, devices)
        if port is None:
            raise DeviceError(
                f"phone {udid}: this host does not tell at which USB port it is, so the port cannot be switched; plug "
                "it in anew by hand"
            )
        values |= {"location": port.location, "port": port.number}
    return [_PLACE.sub(lambda match: values[match[1]], word) for word in command]


async def cycle_port(command: Sequence[str], udid: str) -> None:
    """Calls the program. Raises DeviceError with its last words when it fails, or takes too long."""
    words = filled_in(command, udid)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise DeviceError(f"{FLAG}: {words[0]} cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(CYCLE_LIMIT_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise DeviceError(f"{FLAG}: {words[0]} did not end within {CYCLE_LIMIT_S:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise DeviceError(f"{FLAG}: {words[0]} ended with {process.returncode}: {last[0][:300]}")
