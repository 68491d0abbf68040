"""What one instrument of dtservicehub is: a channel to speak on, selectors to answer, refusals.

Knows DTX messages and nothing of the instruments themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from harness.virtual.wire.dtx import DtxMessage, Int32, MessageType, Primitive
from harness.virtual.wire.keyed_archive import ArchiveError, NSError, archive, unarchive

DTX_DOMAIN = "DTXMessage"
POSIX_DOMAIN = "NSPOSIXErrorDomain"
ESRCH = 3
"""Darwin's errno for "no such process"."""

SELECTOR_LIMIT_CHARS = 200
"""How much of an unknown selector a refusal repeats."""

Selector = Callable[..., Awaitable[object]]
"""Called with one object per colon of its name; what it returns is the reply, None a bare acknowledgement."""


class Refused(Exception):
    """The instrument says no; the client gets `error` as an NSError."""

    def __init__(self, text: str, *, code: int = 1, domain: str = DTX_DOMAIN) -> None:
        super().__init__(text)
        self.error = NSError(domain, code, {"NSLocalizedDescription": text})


class Channel(Protocol):
    """The way back to the client."""

    async def call(self, selector: str, *arguments: object) -> None:
        """Calls a method of the client's, without a reply; None becomes nil. Raises StreamClosed."""
        ...

    async def send_data(self, payload: bytes) -> None:
        """Sends a DATA message. Raises StreamClosed."""
        ...

    async def send_object(self, payload: bytes, *, expects_reply: bool = False) -> None:
        """Sends an OBJECT message, a notification; nobody waits for the reply it may ask for. Raises StreamClosed."""
        ...


class Instrument(Protocol):
    """One open channel's service."""

    selectors: Mapping[str, Selector]

    async def close(self) -> None:
        """The channel or the connection is gone: ends whatever runs."""
        ...


async def invoke(selectors: Mapping[str, Selector], message: DtxMessage) -> object:
    """Runs what `message` asks for; raises Refused for everything that cannot be run."""
    if message.kind is not MessageType.DISPATCH:
        raise Refused(f"messages of type {message.kind.name} are not answered on this channel")
    try:
        name = unarchive(message.payload)
        arguments = [unarchive_argument(argument) for argument in message.arguments]
    except ArchiveError as error:
        raise Refused(f"the call cannot be read: {error}") from error
    method = selectors.get(name) if isinstance(name, str) else None
    if not isinstance(name, str):
        # never shown: an archive may refer to one list from many places, and grows without bound when written out
        raise Refused(f"a selector must be a string, got {type(name).__name__}")
    if method is None:
        # clients recognise a missing selector by the end of this sentence
        shown = name[:SELECTOR_LIMIT_CHARS]
        raise Refused(f"Unable to invoke {shown!r} - it does not respond to the selector")
    if len(arguments) != name.count(":"):
        raise Refused(f"{name} takes {name.count(':')} arguments, {len(arguments)} came")
    return await method(*arguments)


def unarchive_argument(argument: Primitive) -> object:
    """Buffers hold keyed archives, an empty one nil; everything else stands for itself. Raises ArchiveError."""
    if isinstance(argument, bytes):
        return unarchive(argument) if argument else None
    return argument


def archive_argument(argument: object) -> Primitive:
    """Inverse of `unarchive_argument`; `Int32` stays a primitive, everything else becomes an archive."""
    if isinstance(argument, Int32):
        return argument
    return b"" if argument is None else archive(argument)


def whole_number(value: object, name: str) -> int:
    """`value` as an int; raises Refused naming the argument."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{name} must be a whole number, got {type(value).__name__}")
    return int(value)


def text(value: object, name: str) -> str:
    """`value` as a str; raises Refused naming the argument."""
    if not isinstance(value, str):
        raise Refused(f"{name} must be a string, got {type(value).__name__}")
    return value


def dictionary(value: object, name: str) -> dict[object, object]:
    """`value` as a dict, nil as an empty one; raises Refused naming the argument."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(f"{name} must be a dictionary, got {type(value).__name__}")
    return value


def no_such_process(pid: int) -> Refused:
    """The refusal for a pid that does not run."""
    return Refused(f"No such process: {pid}", code=ESRCH, domain=POSIX_DOMAIN)
