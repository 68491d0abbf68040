"""A cable pulled in the middle of a handshake makes the client library forget that it is paired; we do not."""

from __future__ import annotations

import pytest
from pymobiledevice3.lockdown import LockdownClient

from harness.device.pymobiledevice3_ import Pymobiledevice3Transport
from harness.virtual.running import RunningPhone

pytestmark = pytest.mark.anyio


async def test_a_forgotten_pairing_is_renewed(virtual_phone: RunningPhone, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = await Pymobiledevice3Transport.open(virtual_phone.udid, usbmux_address=virtual_phone.usbmux)
    try:
        # what LockdownClient.validate_pairing does when the connection ends in the handshake
        lockdown: LockdownClient = transport._lockdown
        lockdown.pair_record = None
        with monkeypatch.context() as patch:

            async def nothing() -> None: ...

            # the library would look it up again, had usbmuxd kept it in time
            patch.setattr(lockdown, "fetch_pair_record", nothing)
            await lockdown.areestablish_connection()
        assert not lockdown.paired
        assert (await transport.condition()).battery_percent is not None
        assert transport.pair_record["HostID"]
        assert await transport.report_names() == frozenset()
    finally:
        await transport.close()
