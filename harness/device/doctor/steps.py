"""What is looked at, in order, and how: the phone itself, its files, and through `app_steps` the runner app on it.

Remedies name the place in the phone's settings or in docs/real-iphone.md. Limits are above those of the transport's
own steps, whose errors say more.
"""

from __future__ import annotations

import hashlib
import os
import time

from harness.core.errors import UsageError
from harness.core.phone import PhoneKind
from harness.core.units import format_bytes
from harness.device import limits
from harness.device.doctor.app_steps import APP_STEPS
from harness.device.doctor.patient import Patient
from harness.device.doctor.walk import CheckFailed, CheckSkipped, Figure, Found, Step
from harness.device.interface import Capability
from harness.device.session import PhoneSession
from harness.runner.choice import parse_runner

PUSH_BYTES = 8 * 1024 * 1024
FOLDER = "/Documents"
# A trial's own files and its weight cache need room beside the model; below this not even a small one is any use.
LEAST_FREE_BYTES = 1024**3
COOL_CELSIUS = 35.0
"""Apple's own upper limit of the ambient temperature for use; a battery above it has been working."""
LEAST_BATTERY_PERCENT = 30
CLOCK_TOLERANCE_S = 2.0
NS_PER_S = 1_000_000_000
MB = 1_000_000
SLACK_S = 10.0
# an id that no phone gives to an app; asking for it opens the services and changes nothing
NOBODYS_PID = 1
ENTITLEMENTS = (
    "com.apple.developer.kernel.increased-memory-limit",
    "com.apple.developer.kernel.extended-virtual-addressing",
)
GUIDE = "docs/real-iphone.md"


async def _attached(patient: Patient) -> Found:
    reserved = await patient.reserve()
    from harness.device.pymobiledevice3_ import attached_phones, glance

    connections = {
        phone.connection for phone in await attached_phones(reserved.usbmux_address) if phone.udid == reserved.udid
    }
    if not connections:
        raise CheckFailed(
            f"phone {reserved.udid} is not attached",
            f"Check the cable, unlock the phone, and look at `harness devices`; on Linux usbmuxd must run ({GUIDE})",
        )
    if "USB" not in connections:
        raise CheckFailed(f"phone {reserved.udid} is only on the network", "Attach it by USB")
    began_ns = time.monotonic_ns()
    patient.facts = await glance(reserved.udid, reserved.usbmux_address)
    return Found(f"{patient.facts.label}, by USB", (_seconds("answer", began_ns),))


async def _paired(patient: Patient) -> Found:
    began_ns = time.monotonic_ns()
    transport = await patient.open()
    took = _seconds("open", began_ns)
    missing = sorted(frozenset(Capability) - transport.capabilities)
    lacks = f"; it cannot {', '.join(missing)} on this phone" if missing else ""
    return Found(f"this host is trusted, through {transport.name}{lacks}", (took,))


async def _identity(patient: Patient) -> Found:
    facts = patient.transport.facts
    for name in ("product_type", "os_version", "os_build"):
        if not getattr(facts, name):
            raise CheckFailed(f"the phone does not tell its {name}")
    figures = tuple(
        Figure(name, str(getattr(facts, name))) for name in ("kind", "product_type", "os_version", "os_build")
    )
    return Found(f"{facts.product_type}, iOS {facts.os_version} ({facts.os_build}), {facts.kind.value}", figures)


async def _condition(patient: Patient) -> Found:
    began_ns = time.monotonic_ns()
    patient.condition = await patient.transport.condition()
    return Found("the phone tells how it is", (_seconds("answer", began_ns),))


async def _unlocked(patient: Patient) -> Found:
    locked = patient.condition.locked
    if locked is None:
        raise CheckSkipped("the phone does not tell whether it is locked")
    if locked:
        raise CheckFailed(
            "the phone is locked", "Unlock it, and switch auto-lock off: Settings → Display & Brightness → Auto-Lock"
        )
    return Found("unlocked", (Figure("locked", False),))


async def _developer_mode(patient: Patient) -> Found:
    on = patient.condition.developer_mode
    if on is None:
        raise CheckSkipped("there is none on this iOS, or the phone does not tell")
    if not on:
        raise CheckFailed(
            "Developer Mode is off",
            "Switch it on: Settings → Privacy & Security → Developer Mode (the phone restarts, and asks once more)",
        )
    return Found("on", (Figure("on", True),))


async def _developer_image(patient: Patient) -> Found:
    mounted = patient.condition.developer_image
    if mounted is None:
        raise CheckSkipped("not asked while Developer Mode is off, or the phone does not tell")
    if not mounted:
        raise CheckFailed(
            "the developer image is not mounted",
            f"Unlock the phone and mount it, again after each restart: `pymobiledevice3 mounter auto-mount` ({GUIDE})",
        )
    return Found("mounted", (Figure("mounted", True),))


async def _storage(patient: Patient) -> Found:
    free_bytes = patient.condition.free_bytes
    if free_bytes is None:
        raise CheckSkipped("the phone does not tell")
    figures = (Figure("free", free_bytes, "bytes"),)
    if free_bytes < LEAST_FREE_BYTES:
        text = f"only {format_bytes(free_bytes)} are free"
        raise CheckFailed(text, "Free storage: Settings → General → iPhone Storage", figures)
    return Found(f"{format_bytes(free_bytes)} free", figures)


async def _battery(patient: Patient) -> Found:
    told = patient.condition
    readings = (
        ("temperature", told.battery_celsius, "°C"),
        ("level", told.battery_percent, "%"),
        ("charging", told.charging, ""),
    )
    figures = tuple(Figure(name, value, unit) for name, value, unit in readings if value is not None)
    if told.battery_percent is None and told.battery_celsius is None:
        raise CheckSkipped("the phone tells neither its temperature nor its level")
    words = [] if told.battery_percent is None else [f"{told.battery_percent} %"]
    words += [] if told.charging is None else ["charging" if told.charging else "not charging"]
    words += ["no temperature"] if told.battery_celsius is None else [f"{told.battery_celsius:.1f} °C"]
    text = ", ".join(words)
    if told.battery_percent is not None and told.battery_percent < LEAST_BATTERY_PERCENT:
        raise CheckFailed(text, f"Charge it to {LEAST_BATTERY_PERCENT} % at least before measuring", figures)
    if told.battery_celsius is None:
        raise CheckFailed(
            text, "Without a temperature no suite can wait for the phone to cool; please report it", figures
        )
    warm = told.battery_celsius > COOL_CELSIUS
    return Found(text, figures, "It is warm: let it cool before measuring" if warm else "")


async def _clock(patient: Patient) -> Found:
    offset_ns = patient.condition.clock_offset_ns
    if offset_ns is None:
        raise CheckSkipped("the phone does not tell its time")
    offset_s = offset_ns / NS_PER_S
    figures = (Figure("offset", round(offset_s, 6), "s"),)
    text = f"{abs(offset_s):.3f} s {'ahead of' if offset_s > 0 else 'behind'} this host"
    far = abs(offset_s) > CLOCK_TOLERANCE_S
    advice = "Set both clocks by the network; crash reports are matched by time with the offset in mind" if far else ""
    return Found(text, figures, advice)


async def _developer_services(patient: Patient) -> Found:
    transport = patient.transport
    opening_ns = time.monotonic_ns()
    await transport.is_running(NOBODYS_PID)
    opened = _seconds("open", opening_ns)
    asking_ns = time.monotonic_ns()
    await transport.is_running(NOBODYS_PID)
    answer = Figure("answer", round((time.monotonic_ns() - asking_ns) / 1e6, 2), "ms")
    return Found(f"open after {opened.value:.2f} s, answer in {answer.value:.1f} ms", (opened, answer))


async def _install(patient: Patient) -> Found:
    transport = patient.transport
    try:
        runner = parse_runner((patient.runner_choice,)).choose(None, transport.facts.kind)
    except UsageError as error:
        if patient.runner_choice != "auto":
            raise
        raise CheckSkipped(f"no runner app for this phone: {error}") from error
    began_ns = time.monotonic_ns()
    # also when it is there: the point is to see an install
    await transport.install(runner.path, lambda what, done, total: None)
    took = _seconds("install", began_ns)
    session = PhoneSession(transport, runner, lambda what, done, total: None)
    await session.ensure_app()
    patient.session = session
    size_bytes = runner.path.stat().st_size
    granted = session.entitlements or {}
    missing = [name.rpartition(".")[2] for name in ENTITLEMENTS if granted.get(name) is not True]
    figures = (took, Figure("size", size_bytes, "bytes"), *(Figure(n, granted.get(n) is True) for n in ENTITLEMENTS))
    text = f"{runner.bundle_id} build {runner.build}, {format_bytes(size_bytes)} in {took.value:.1f} s"
    advice = f"It has no {' and no '.join(missing)}: large models may need {'them' if missing[1:] else 'it'}"
    virtual = transport.facts.kind is PhoneKind.VIRTUAL
    return Found(text, figures, advice if missing and not virtual else "")


async def _push(patient: Patient) -> Found:
    data = os.urandom(PUSH_BYTES)
    patient.pushed_sha256 = hashlib.sha256(data).hexdigest()
    source = patient.scratch / "doctor.bin"
    source.write_bytes(data)
    path = f"{FOLDER}/doctor-{patient.pushed_sha256[:16]}.bin"
    odd: list[str] = []
    async with patient.transport.container(patient.app.runner.bundle_id) as container:
        patient.pushed = path
        began_ns = time.monotonic_ns()
        await container.write(path, source, progress=lambda done: None, odd=odd.append)
        pushed = _rate("push", began_ns)
        size = await container.size(path)
        if size != PUSH_BYTES:
            raise CheckFailed(
                f"{size} of {PUSH_BYTES} bytes arrived", "Check the cable and the free storage", (pushed,)
            )
    how = "one write at a time" if odd else "several writes under way at once"
    figures = (pushed, Figure("pipelined", not odd))
    advice = f"Slower than it could be; the phone would not take several writes at once: {odd[0]}" if odd else ""
    return Found(f"{format_bytes(PUSH_BYTES)} at {pushed.value:.1f} MB/s, {how}", figures, advice)


async def _read_back(patient: Patient) -> Found:
    assert patient.pushed is not None, "what is read back has been pushed"
    async with patient.transport.container(patient.app.runner.bundle_id) as container:
        began_ns = time.monotonic_ns()
        contents = await container.read(patient.pushed, PUSH_BYTES)
        rate = _rate("read", began_ns)
    if contents is None or hashlib.sha256(contents.data).hexdigest() != patient.pushed_sha256:
        raise CheckFailed("what came back is not what was pushed", "Try another cable and port, and report it", (rate,))
    return Found(f"the same bytes, at {rate.value:.1f} MB/s", (rate,))


async def _crash_reports(patient: Patient) -> Found:
    began_ns = time.monotonic_ns()
    names = await patient.transport.report_names()
    listed = _seconds("list", began_ns)
    figures: tuple[Figure, ...] = (Figure("reports", len(names)), listed)
    if not names:
        return Found("can be listed; there is none", figures)
    began_ns = time.monotonic_ns()
    data = await patient.transport.read_report(max(names), 1 << 20)
    figures += (_seconds("read", began_ns),)
    if not data:
        raise CheckFailed(f"{len(names)} are listed, but one that was read is empty", "Please report it", figures)
    return Found(f"{len(names)} there, one was read", figures)


async def _clean_up(patient: Patient) -> Found:
    await patient.remove_files()
    return Found("our files are gone; the runner app stays installed")


def _seconds(name: str, began_ns: int) -> Figure:
    return Figure(name, round((time.monotonic_ns() - began_ns) / NS_PER_S, 3), "s")


def _rate(name: str, began_ns: int) -> Figure:
    took_s = max(time.monotonic_ns() - began_ns, 1) / NS_PER_S
    return Figure(name, round(PUSH_BYTES / took_s / MB, 1), "MB/s")


_SERVICE_S = limits.SERVICE_LIMIT_S + SLACK_S
_TRANSFER_S = 2 * limits.TRANSFER_LIMIT_S + SLACK_S

BEFORE_APP: tuple[Step[Patient], ...] = (
    # no limit of its own: it may wait for a phone that another process uses
    Step("attached", _attached, None),
    Step("paired", _paired, limits.PAIR_LIMIT_S + SLACK_S, needs=("attached",)),
    Step("identity", _identity, _SERVICE_S, needs=("paired",)),
    Step("condition", _condition, _SERVICE_S, needs=("paired",)),
    Step("unlocked", _unlocked, _SERVICE_S, needs=("condition",)),
    Step("developer_mode", _developer_mode, _SERVICE_S, needs=("condition",)),
    Step("developer_image", _developer_image, _SERVICE_S, needs=("condition",)),
    Step("storage", _storage, _SERVICE_S, needs=("condition",)),
    Step("battery", _battery, _SERVICE_S, needs=("condition",)),
    Step("clock", _clock, _SERVICE_S, needs=("condition",)),
    Step(
        "developer_services",
        _developer_services,
        3 * limits.TUNNEL_LIMIT_S + SLACK_S,
        needs=("paired",),
        unless_failed=("developer_mode", "developer_image"),
    ),
    Step("install", _install, limits.INSTALL_LIMIT_S + SLACK_S, needs=("paired",)),
    Step("push", _push, _TRANSFER_S, needs=("install",)),
    Step("read_back", _read_back, _TRANSFER_S, needs=("push",)),
)
AFTER_APP: tuple[Step[Patient], ...] = (
    Step("crash_reports", _crash_reports, _TRANSFER_S, needs=("paired",)),
    Step("clean_up", _clean_up, _SERVICE_S, needs=("install",)),
)
STEPS = (*BEFORE_APP, *APP_STEPS, *AFTER_APP)
