"""How long a question takes through the developer tunnel: `python tests/benchmarks/bench_tunnel_round_trip.py [COUNT]`.

pymobiledevice3 asks a virtual phone whether pid 1 runs: on iOS 18 through its userspace tunnel, on iOS 16 straight
over TLS for comparison. Both ends are Python on this machine. Prints one JSON line; not part of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider

from harness.virtual.running import RunningPhone, start_phone

DEFAULT_COUNT = 300
WARM_UP = 20


async def _ask(dvt: DvtProvider, count: int) -> list[float]:
    times_ms: list[float] = []
    async with DeviceInfo(dvt) as info:
        for _ in range(WARM_UP + count):
            start = time.perf_counter()
            await info.is_running_pid(1)
            times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms[WARM_UP:]


async def _through_tunnel(phone: RunningPhone, count: int) -> tuple[list[float], float]:
    start = time.perf_counter()
    async with UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd:
        up_s = time.perf_counter() - start
        async with DvtProvider(rsd) as dvt:
            return await _ask(dvt, count), up_s


async def _over_lockdown(count: int) -> list[float]:
    async with await create_using_usbmux(autopair=True) as lockdown, DvtProvider(lockdown) as dvt:
        return await _ask(dvt, count)


def _summary(times_ms: list[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(times_ms, n=100)
    return {"median_ms": round(statistics.median(times_ms), 2), "p99_ms": round(quantiles[98], 2)}


def main(arguments: list[str]) -> None:
    """Measures both ways and prints them."""
    count = int(arguments[0]) if arguments else DEFAULT_COUNT
    result: dict[str, object] = {"count": count, "load_average": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HOME"] = scratch  # clients cache pair records under it
        with start_phone(settings={"ios": "18.5"}, home=Path(scratch) / "new") as phone:
            os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
            times_ms, up_s = asyncio.run(_through_tunnel(phone, count))
            result["tunnel"] = {**_summary(times_ms), "up_s": round(up_s, 2)}
        with start_phone("iphone-14", settings={"ios": "16.7"}, home=Path(scratch) / "old") as phone:
            os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
            result["lockdown"] = _summary(asyncio.run(_over_lockdown(count)))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
