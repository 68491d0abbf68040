"""`com.apple.instruments.dtservicehub`: one DTX connection, its channels, and an instrument behind each.

Before iOS 17 the same conversation stands behind lockdownd's DVTSecureSocketProxy, inside TLS.

Every channel handles its messages in order, in a task of its own; channels do not wait for each other. Unknown
services, channels and selectors are refused with an NSError. All tasks end with the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.virtual.services import (
    condition_inducer,
    device_info,
    graphics,
    mobile_notifications,
    process_control,
    sysmontap,
)
from harness.virtual.services.instrument import (
    Channel,
    Instrument,
    Refused,
    Selector,
    archive_argument,
    invoke,
    text,
    whole_number,
)
from harness.virtual.stream import Stream, StreamClosed
from harness.virtual.wire.dtx import DtxError, DtxMessage, DtxReceiver, MessageType, encode_message
from harness.virtual.wire.keyed_archive import archive

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

logger = logging.getLogger(__name__)

INSTRUMENTS: dict[str, Callable[[Channel, Phone], Instrument]] = {
    condition_inducer.IDENTIFIER: condition_inducer.ConditionInducer,
    device_info.IDENTIFIER: device_info.DeviceInfo,
    graphics.IDENTIFIER: graphics.Graphics,
    mobile_notifications.IDENTIFIER: mobile_notifications.MobileNotifications,
    process_control.IDENTIFIER: process_control.ProcessControl,
    sysmontap.IDENTIFIER: sysmontap.Sysmontap,
}
CONTROL_CHANNEL = 0
MAXIMUM_CHANNELS = 64
MAXIMUM_WAITING_MESSAGES = 64
"""Calls that wait on one channel; beyond it the connection is not read, and the client waits."""


class _OpenChannel:
    """A channel the client opened under `code`."""

    def __init__(self, connection: _Connection, code: int, make: Callable[[Channel, Phone], Instrument]) -> None:
        self._connection = connection
        self._code = code
        self._waiting: asyncio.Queue[DtxMessage] = asyncio.Queue(MAXIMUM_WAITING_MESSAGES)
        self._instrument = make(self, connection.phone)
        self._worker = asyncio.create_task(self._work())

    async def call(self, selector: str, *arguments: object) -> None:
        await self._connection.send(
            MessageType.DISPATCH,
            -self._code,
            payload=archive(selector),
            arguments=arguments,
        )

    async def send_data(self, payload: bytes) -> None:
        await self._connection.send(MessageType.DATA, -self._code, payload=payload)

    async def send_object(self, payload: bytes, *, expects_reply: bool = False) -> None:
        await self._connection.send(MessageType.OBJECT, -self._code, payload=payload, expects_reply=expects_reply)

    async def put(self, message: DtxMessage) -> None:
        await self._waiting.put(message)

    async def close(self) -> None:
        self._worker.cancel()
        try:
            await asyncio.gather(self._worker, return_exceptions=True)
        finally:
            # also when the connection itself is cut off while this channel closes
            await self._instrument.close()

    async def _work(self) -> None:
        with contextlib.suppress(StreamClosed):
            while True:
                message = await self._waiting.get()
                await self._connection.answer(message, self._instrument.selectors)


class _Connection:
    def __init__(self, stream: Stream, phone: Phone) -> None:
        self.phone = phone
        self._stream = stream
        self._channels: dict[int, _OpenChannel] = {}
        self._identifiers = itertools.count(1)
        self._sending = asyncio.Lock()
        self._selectors: Mapping[str, Selector] = {
            "_notifyOfPublishedCapabilities:": self._on_capabilities,
            "_requestChannelWithCode:identifier:": self._on_channel_requested,
            "_channelCanceled:": self._on_channel_cancelled,
        }

    async def run(self) -> None:
        receiver = DtxReceiver()
        # block compression is left out on purpose: it is not offered, so none may be sent here
        capabilities: dict[str, object] = {"com.apple.private.DTXConnection": 1, **dict.fromkeys(INSTRUMENTS, 1)}
        await self.send(
            MessageType.DISPATCH,
            CONTROL_CHANNEL,
            payload=archive("_notifyOfPublishedCapabilities:"),
            arguments=(capabilities,),
        )
        try:
            while data := await self._stream.receive():
                for message in receiver.receive_data(data):
                    await self._take(message)
        except DtxError as error:
            logger.warning("a DTX client was cut off: %s", error)
        finally:
            # each of them, also when this is cut off between two
            async with contextlib.AsyncExitStack() as closing:
                for channel in self._channels.values():
                    closing.push_async_callback(channel.close)

    async def send(
        self,
        kind: MessageType,
        channel: int,
        *,
        payload: bytes = b"",
        arguments: tuple[object, ...] = (),
        reply_to: DtxMessage | None = None,
        expects_reply: bool = False,
    ) -> None:
        """Sends one message; fragments of two never mix."""
        message = DtxMessage(
            kind=kind,
            identifier=next(self._identifiers) if reply_to is None else reply_to.identifier,
            channel=channel,
            conversation=0 if reply_to is None else reply_to.conversation + 1,
            expects_reply=expects_reply,
            arguments=tuple(archive_argument(argument) for argument in arguments),
            payload=payload,
        )
        async with self._sending:
            await self._stream.send(encode_message(message))

    async def answer(self, message: DtxMessage, selectors: Mapping[str, Selector]) -> None:
        """Runs a call and replies when a reply is expected."""
        try:
            result = await invoke(selectors, message)
            kind, payload = (MessageType.OK, b"") if result is None else (MessageType.OBJECT, archive(result))
        except Refused as refusal:
            if not message.expects_reply:
                logger.warning("refused without a way to say so: %s", refusal)
            kind, payload = MessageType.ERROR, archive(refusal.error)
        except StreamClosed:
            raise
        except Exception as error:
            # a fault of this phone; its client must not wait forever for the answer
            logger.exception("an instrument failed")
            kind, payload = MessageType.ERROR, archive(Refused(f"the instrument failed: {error!r}").error)
        if message.expects_reply:
            await self.send(kind, message.channel, payload=payload, reply_to=message)

    async def _take(self, message: DtxMessage) -> None:
        if message.conversation % 2:
            return  # a reply: what is sent from here and asks for one does so for form's sake
        if message.channel == CONTROL_CHANNEL:
            await self.answer(message, self._selectors)
        elif (channel := self._channels.get(message.channel)) is not None:
            await channel.put(message)
        else:
            await self.answer(message, {})

    async def _on_capabilities(self, capabilities: object) -> object:
        return None

    async def _on_channel_requested(self, code: object, identifier: object) -> object:
        number, name = whole_number(code, "the channel's code"), text(identifier, "the channel's identifier")
        if number <= 0 or number in self._channels:
            raise Refused(f"channel code {number} is not positive, or in use")
        if len(self._channels) >= MAXIMUM_CHANNELS:
            raise Refused(f"more than {MAXIMUM_CHANNELS} channels are open")
        if name not in INSTRUMENTS:
            raise Refused(f"there is no service {name!r} on this phone")
        self._channels[number] = _OpenChannel(self, number, INSTRUMENTS[name])
        return None

    async def _on_channel_cancelled(self, code: object) -> object:
        number = whole_number(code, "the channel's code")
        channel = self._channels.pop(number, None)
        if channel is None:
            raise Refused(f"channel {number} is not open")
        await channel.close()
        return None


async def serve(stream: Stream, phone: Phone) -> None:
    """Speaks DTX with one client until it goes."""
    await _Connection(stream, phone).run()
