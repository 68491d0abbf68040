"""How much of a link a push uses, ours beside those of the tools people have; and how much memory it takes.

    python tests/benchmarks/bench_push.py [--mib 512] [--rounds 1] [--links 40,200] [--memory-mib 2048] [--only ours]

A virtual phone with TLS, as a real one has it, behind a link of so many MB/s (10^6 bytes) and 1 ms, which the phone's
fault `slow-link` shapes. Each tool pushes the same file into an app's container, in a process of its own, round by
round; the figure is the file's size by the time from the first request to the last answer, divided by the link's
speed. Ours is the whole of `push_model`: opening, looking, room, writing, renaming, manifest.

Exits 1 when ours uses less of a link than it must, or more memory. ifuse is left out, with a word, where it or
/dev/fuse is missing. Its kernel module cuts every write into pages of 4 KiB, each of which waits for its answer, so it
gets a smaller file: its rate is the same for any size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.job import Variant
from harness.runner.package import cached_ipa
from harness.virtual.running import RunningPhone, start_phone

MIB = 1024 * 1024
LATENCY_MS = 1
# MB/s of the link → the share of it that ours must use
LIMITS = {40: 0.95, 200: 0.80}
MEMORY_LIMIT_BYTES = 200 * MIB
MEMORY_LINK_MB_PER_S = 200
PUSH_LIMIT_S = 900.0
MOUNT_LIMIT_S = 30.0
BLOCK_BYTES = 4 * MIB
IFUSE_BYTES = 8 * MIB


@dataclass(frozen=True)
class Target:
    """Where a tool is to push to."""

    udid: str
    usbmux: str
    bundle_id: str
    file: Path


@dataclass(frozen=True)
class Pushed:
    size_bytes: int
    seconds: float
    peak_bytes: int | None
    """Of the pushing process's resident memory, with its interpreter and libraries; None of ifuse, a daemon."""


# -- the tools; each runs in a process of its own and gives the seconds it took


async def push_ours(target: Target) -> float:
    from harness.device.push import push_model
    from harness.device.pymobiledevice3_ import Pymobiledevice3Transport

    transport = await Pymobiledevice3Transport.open(target.udid, usbmux_address=target.usbmux)
    try:
        # a new name each time, or a second round would find it there
        name = os.urandom(32).hex()
        begin = time.perf_counter()
        pushed = await push_model(transport, target.bundle_id, target.file, name, lambda what, done, total: None)
        seconds = time.perf_counter() - begin
    finally:
        await transport.close()
    if not pushed.pipelined or pushed.pushed_bytes != target.file.stat().st_size:
        raise SystemExit(f"not the push that was to be measured: {pushed}")
    return seconds


async def push_pymobiledevice3(target: Target) -> float:
    from pymobiledevice3.lockdown import create_using_usbmux
    from pymobiledevice3.services.house_arrest import HouseArrestService

    async with await create_using_usbmux(serial=target.udid, usbmux_address=target.usbmux) as client:
        service = await HouseArrestService.create(client, target.bundle_id)
        async with service:
            begin = time.perf_counter()
            await service.push(str(target.file), "/Documents/pymobiledevice3.bin", progress_bar=False)
            return time.perf_counter() - begin


def push_tidevice(target: Target) -> float:
    from tidevice import Device, Usbmux  # type: ignore[import-untyped]  # no types

    files = Device(target.udid, Usbmux(target.usbmux)).app_sync(target.bundle_id, "VendContainer")
    with target.file.open("rb") as file:
        begin = time.perf_counter()
        files.push_content("/Documents/tidevice.bin", file)
        return time.perf_counter() - begin


def push_ifuse(target: Target) -> float:
    with tempfile.TemporaryDirectory() as mount, target.file.open("rb") as file:
        mounting = ["ifuse", "--container", target.bundle_id, mount, "--udid", target.udid]
        subprocess.run(mounting, check=True, timeout=MOUNT_LIMIT_S)
        try:
            begin = time.perf_counter()
            # closing the file flushes what FUSE has not sent yet
            (Path(mount) / "Documents/ifuse.bin").write_bytes(file.read(IFUSE_BYTES))
            return time.perf_counter() - begin
        finally:
            subprocess.run(["fusermount", "-u", mount], check=True, timeout=MOUNT_LIMIT_S)


TOOLS: dict[str, Callable[[Target], float]] = {
    "ours": lambda target: asyncio.run(push_ours(target)),
    "pymobiledevice3": lambda target: asyncio.run(push_pymobiledevice3(target)),
    "tidevice": push_tidevice,
    "ifuse": push_ifuse,
}


def run_tool(tool: str, target: Target) -> Pushed:
    """In a process of its own, so that its memory is its own."""
    words = [tool, target.udid, target.usbmux, target.bundle_id, str(target.file)]
    environment = {**os.environ, "USBMUXD_SOCKET_ADDRESS": target.usbmux}
    process = subprocess.run(
        [sys.executable, __file__, "--tool", *words],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        timeout=PUSH_LIMIT_S,
    )
    return Pushed(**json.loads(process.stdout.splitlines()[-1]))


def be_tool(tool: str, udid: str, usbmux: str, bundle_id: str, file: str) -> None:
    seconds = TOOLS[tool](Target(udid, usbmux, bundle_id, Path(file)))
    peak_bytes = None if tool == "ifuse" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size_bytes = Path(file).stat().st_size
    size_bytes = min(size_bytes, IFUSE_BYTES) if tool == "ifuse" else size_bytes
    print(json.dumps({"size_bytes": size_bytes, "seconds": seconds, "peak_bytes": peak_bytes}))


# -- the phone


def shaped_phone(folder: Path, link_mb_per_s: int) -> RunningPhone:
    phone = start_phone(home=folder / f"phone-{link_mb_per_s}")
    try:
        os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
        asyncio.run(install(phone))
        phone.control("fault", name="slow-link", bandwidth=f"{link_mb_per_s}MB", latency_ms=LATENCY_MS)
    except BaseException:
        phone.stop()
        raise
    return phone


async def install(phone: RunningPhone) -> None:
    from harness.device.pymobiledevice3_ import Pymobiledevice3Transport

    transport = await Pymobiledevice3Transport.open(phone.udid, usbmux_address=phone.usbmux)
    await transport.install(cached_ipa(Variant.PLAIN).path, lambda what, done, total: None)
    await transport.close()


def empty(phone: RunningPhone) -> None:
    """Takes away what was pushed: the disk is this machine's."""
    for folder in phone.home.glob("Containers/*/Documents"):
        shutil.rmtree(folder)
        folder.mkdir()


# -- the measurements


def measure_link(folder: Path, file: Path, link_mb_per_s: int, tools: list[str], rounds: int) -> bool:
    """Prints a row a tool; False when ours used too little of the link."""
    bundle_id = cached_ipa(Variant.PLAIN).bundle_id
    pushes: dict[str, list[Pushed]] = {tool: [] for tool in tools}
    with shaped_phone(folder, link_mb_per_s) as phone:
        target = Target(phone.udid, phone.usbmux, bundle_id, file)
        for _ in range(rounds):
            for tool in tools:
                pushes[tool].append(run_tool(tool, target))
                empty(phone)
    good = True
    for tool, done in pushes.items():
        rate = statistics.median(one.size_bytes / 1e6 / one.seconds for one in done)
        share = rate / link_mb_per_s
        peaks = [one.peak_bytes for one in done if one.peak_bytes is not None]
        peak = f"peak {max(peaks) / MIB:4.0f} MiB" if peaks else "peak    – MiB"
        verdict = ""
        if tool == "ours" and link_mb_per_s in LIMITS:
            good = share >= LIMITS[link_mb_per_s]
            verdict = f"  {'ok' if good else 'MISSED'}: at least {LIMITS[link_mb_per_s]:.2f}"
        row = f"{link_mb_per_s:4} MB/s  {tool:16} {rate:6.1f} MB/s  {share:5.2f} of the link"
        print(f"{row}  {peak}{verdict}", flush=True)
    return good


def measure_memory(folder: Path, size_mib: int) -> bool:
    """Our process's peak while it pushes a large file."""
    file = folder / "large.task"
    with file.open("wb") as large:
        large.truncate(size_mib * MIB)
    bundle_id = cached_ipa(Variant.PLAIN).bundle_id
    with shaped_phone(folder, MEMORY_LINK_MB_PER_S) as phone:
        pushed = run_tool("ours", Target(phone.udid, phone.usbmux, bundle_id, file))
        empty(phone)
    assert pushed.peak_bytes is not None
    good = pushed.peak_bytes <= MEMORY_LIMIT_BYTES
    verdict = f"{'ok' if good else 'MISSED'}: at most {MEMORY_LIMIT_BYTES / MIB:.0f} MiB"
    print(f"memory     ours, {size_mib} MiB: peak {pushed.peak_bytes / MIB:.0f} MiB  {verdict}", flush=True)
    return good


def usable(tool: str) -> bool:
    if tool != "ifuse":
        return True
    missing = [need for need in ("ifuse", "fusermount") if shutil.which(need) is None]
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        missing.append("/dev/fuse")
    if missing:
        print(f"ifuse is left out, there is no {' and no '.join(missing)}", flush=True)
    return not missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512, help="size of the file")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--links", default="40,200", help="MB/s, joined by commas")
    parser.add_argument("--memory-mib", type=int, default=2048, help="size of the file of the memory's row; 0: none")
    parser.add_argument("--only", action="append", choices=list(TOOLS), help="these tools; repeatable")
    parser.add_argument("--tool", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        be_tool(*options.tool)
        return
    # at 200 MB/s the pushing process and the phone need a processor each for themselves
    print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # pair records and locks of this run only
        os.environ["HOME"] = name
        os.environ["IPHONE_LOAD_HARNESS_LOCKS"] = str(folder / "locks")
        file = folder / "model.task"
        with file.open("wb") as model:
            for _ in range(options.mib * MIB // BLOCK_BYTES):
                model.write(os.urandom(BLOCK_BYTES))
        tools = [tool for tool in options.only or TOOLS if usable(tool)]
        good = [measure_link(folder, file, int(link), tools, options.rounds) for link in options.links.split(",")]
        if options.memory_mib:
            good.append(measure_memory(folder, options.memory_mib))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
