"""From a device word to an open phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from harness.core.errors import UsageError
from harness.core.phone import AnyPhysical, ByUdid, DeviceWord, Virtual
from harness.device.errors import PhoneNotFound
from harness.device.interface import Transport
from harness.device.virtual_host import running_virtual_phone


@asynccontextmanager
async def open_phone(word: DeviceWord) -> AsyncIterator[Transport]:
    """The phone that `word` names, open for the length of the `async with`.

    Raises PhoneNotFound when a named phone is not attached, UsageError for a wrong virtual profile or setting,
    StepError when the phone is there but not ready.
    """
    # costs half a second to import, and `--help` needs none of it
    from harness.device.pymobiledevice3_ import Pymobiledevice3Transport

    async with AsyncExitStack() as stack:
        if isinstance(word, Virtual):
            phone = stack.enter_context(running_virtual_phone(word))
            transport = await Pymobiledevice3Transport.open(
                phone.udid,
                usbmux_address=phone.usbmux_address,
                settings=word.settings_text,
                pair_records=phone.home / "host-pair-records",
            )
        else:
            transport = await Pymobiledevice3Transport.open(await _physical_udid(word))
        stack.push_async_callback(transport.close)
        yield transport


async def _physical_udid(word: ByUdid | AnyPhysical) -> str:
    if isinstance(word, ByUdid):
        return word.udid
    from harness.device.pymobiledevice3_ import attached_phones

    if word.product_type is not None or word.every:
        raise UsageError("--device=all and class:… are not there yet; name a UDID (`harness devices` lists them)")
    usb = sorted(phone.udid for phone in await attached_phones() if phone.connection == "USB")
    if not usb:
        raise PhoneNotFound("no phone is attached by USB; --device=virtual needs none")
    return usb[0]
