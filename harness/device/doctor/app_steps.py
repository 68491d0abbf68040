"""What is looked at through the runner app: its launch, its samples, the phone's monitor beside them, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time

from harness.core.errors import DeviceError
from harness.core.job import Backend, CacheState, Engine, Job
from harness.core.units import format_bytes
from harness.device import limits
from harness.device.doctor.patient import Patient
from harness.device.doctor.walk import CheckFailed, Figure, Found, Step
from harness.device.errors import StepError
from harness.device.session import START_LIMIT_S
from harness.runner.client import HELLO_LIMIT_S, Limits, RunnerClient
from harness.runner.messages import ErrorEvent, PhaseEvent, ResultEvent, SampleEvent
from harness.runner.observation import read_sample

DOCUMENTS = "/Documents/"
SAMPLE_HZ = 1000
HOLD_MS = 5000
PROGRESS_LIMIT_S = 30.0
MONITOR_INTERVAL_MS = 200
LEAST_MONITOR_READINGS = 3
# Both count the same pages by the same ledger, but not at the same instant.
FOOTPRINT_TOLERANCE = 0.1
KILL_NOTICED_LIMIT_S = 5.0
KILL_POLL_S = 0.02
HANG_UP_LIMIT_S = 5.0
SLACK_S = 10.0
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


async def _launch(patient: Patient) -> Found:
    app = patient.app
    began_ns = time.monotonic_ns()
    patient.pid, port = await app.start_runner()
    launched = _seconds("launch", began_ns)
    connection = await app.connect_runner(patient.pid, port)
    patient.client = RunnerClient(*connection)
    hello = await patient.client.hello()
    greeted = _seconds("hello", began_ns)
    if hello.pid != patient.pid or hello.build != app.runner.build:
        text = f"process {hello.pid} of build {hello.build} answered, not {patient.pid} of {app.runner.build}"
        raise CheckFailed(text, "Restart the phone and try again", (launched, greeted))
    patient.columns = hello.sample_columns
    engines = ", ".join(f"{name} {version}" for name, version in sorted(hello.engines.items()))
    figures = (
        launched,
        greeted,
        Figure("ram", hello.ram_bytes, "bytes"),
        Figure("page_size", hello.page_size, "bytes"),
        Figure("engines", engines),
    )
    text = f"greets after {greeted.value:.2f} s; {format_bytes(hello.ram_bytes)} RAM; engines: {engines or 'none'}"
    return Found(text, figures)


async def _runner_clock(patient: Patient) -> Found:
    clock = await _client(patient).measure_clock()
    trip = Figure("round_trip", round(clock.round_trip_ns / NS_PER_MS, 3), "ms")
    return Found(f"round trip {trip.value} ms: host and app times agree to half of that", (trip,))


async def _telemetry(patient: Patient) -> Found:
    """One job that only holds the pushed file in memory, and meanwhile the phone's monitor on the same process."""
    assert patient.pid is not None, "it has been launched"
    assert patient.pushed is not None, "its file has been pushed"
    monitor = asyncio.create_task(_watch_from_host(patient, patient.pid))
    try:
        times_ns, ended = await _hold_in_memory(patient, patient.pushed.removeprefix(DOCUMENTS))
    finally:
        monitor.cancel()
        await asyncio.wait([monitor], timeout=HANG_UP_LIMIT_S)
    if isinstance(ended, ErrorEvent):
        raise CheckFailed(f"the runner could not hold the file in memory: {ended.kind}: {ended.message}")
    if len(times_ns) < 2:
        raise CheckFailed(f"{len(times_ns)} samples came, {SAMPLE_HZ} a second were asked for", "Please report it")
    gaps_ns = [after - before for before, after in itertools.pairwise(times_ns)]
    rate = Figure("rate", round((len(times_ns) - 1) * NS_PER_S / (times_ns[-1] - times_ns[0])), "Hz")
    gap = Figure("longest_gap", round(max(gaps_ns) / NS_PER_MS, 1), "ms")
    figures = (Figure("samples", len(times_ns)), rate, gap)
    return Found(f"{rate.value} samples a second of {SAMPLE_HZ}, longest gap {gap.value} ms", figures)


async def _hold_in_memory(patient: Patient, model: str) -> tuple[list[int], ResultEvent | ErrorEvent]:
    """Times of the samples on the app's clock, and how the job ended."""
    job = Job(
        model=model,
        sha256=patient.pushed_sha256,
        engine=Engine.READ,
        backend=Backend.CPU,
        cache=CacheState.NONE,
        max_tokens=1,
        prompt=None,
        decode_tokens=0,
        sample_hz=SAMPLE_HZ,
        hold_ms=HOLD_MS,
        seed=1,
    )
    times_ns: list[int] = []
    holding = False
    async for event in _client(patient).run(patient.trial, job, Limits(progress_s=PROGRESS_LIMIT_S)):
        if isinstance(event, PhaseEvent):
            # after the load and before the unload the file is in memory, and the footprint stands still
            holding = (event.name, event.edge) == ("read", "end") or (holding and event.name != "unload")
        elif isinstance(event, SampleEvent):
            times_ns.append(event.t)
            reading = read_sample(event, patient.columns)
            if holding and reading is not None and reading.footprint_bytes is not None:
                patient.app_footprints.append(reading.footprint_bytes)
        elif isinstance(event, ResultEvent) or (isinstance(event, ErrorEvent) and event.trial is not None):
            return times_ns, event
    raise CheckFailed("the runner stopped without a result", "Please report it")


async def _watch_from_host(patient: Patient, pid: int) -> None:
    try:
        async for reading in patient.transport.watch_process(pid, MONITOR_INTERVAL_MS):
            patient.host_readings.append(reading)
    except DeviceError as error:
        patient.monitor_problem = str(error)


async def _system_monitor(patient: Patient) -> Found:
    readings = patient.host_readings
    if patient.monitor_problem is not None:
        raise CheckFailed(patient.monitor_problem)
    if len(readings) < LEAST_MONITOR_READINGS:
        text = f"{len(readings)} readings in {HOLD_MS / 1000:g} s, one every {MONITOR_INTERVAL_MS} ms was asked for"
        remedy = "The app's own samples do not depend on it; the cross-check does. Please report it"
        raise CheckFailed(text, remedy, (Figure("readings", len(readings)),))
    intervals_ms = [(after.t_ns - before.t_ns) / NS_PER_MS for before, after in itertools.pairwise(readings)]
    median = Figure("median_interval", round(statistics.median(intervals_ms), 1), "ms")
    longest = Figure("longest_interval", round(max(intervals_ms), 1), "ms")
    figures: tuple[Figure, ...] = (Figure("readings", len(readings)), median, longest)
    cadence = f"a reading every {median.value} ms (longest {longest.value} ms, asked for {MONITOR_INTERVAL_MS})"
    host = [reading.footprint_bytes for reading in readings if reading.footprint_bytes is not None]
    if not host or not patient.app_footprints:
        return Found(f"{cadence}; footprints could not be compared", figures)
    # the highest the monitor saw, since its readings also cover the time before the load
    seen_bytes, own_bytes = max(host), round(statistics.median(patient.app_footprints))
    figures += (Figure("footprint", seen_bytes, "bytes"), Figure("own_footprint", own_bytes, "bytes"))
    compared = f"footprint {format_bytes(seen_bytes)}, the app's own {format_bytes(own_bytes)}"
    if abs(seen_bytes - own_bytes) > FOOTPRINT_TOLERANCE * own_bytes:
        raise CheckFailed(f"{cadence}; {compared}", "They should agree; please report it", figures)
    return Found(f"{cadence}; {compared}", figures)


async def _kill(patient: Patient) -> Found:
    pid = patient.pid
    assert pid is not None, "it has been launched"
    transport = patient.transport
    if not await transport.is_running(pid):
        raise CheckFailed(f"the app (pid {pid}) had ended by itself before", "Look at its crash report")
    notice = asyncio.create_task(_hear_of_end(patient, pid))
    # its request must be on its way before the process ends
    await asyncio.sleep(0)
    with contextlib.suppress(StepError):
        await transport.is_running(pid)
    began_ns = time.monotonic_ns()
    try:
        await transport.kill(pid)
        asked = _seconds("ask", began_ns)
        while await transport.is_running(pid):
            if time.monotonic_ns() - began_ns > KILL_NOTICED_LIMIT_S * NS_PER_S:
                raise CheckFailed(
                    f"the app still runs {KILL_NOTICED_LIMIT_S:g} s after it was killed", "Restart the phone"
                )
            await asyncio.sleep(KILL_POLL_S)
        gone = _seconds("gone", began_ns)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_NOTICED_LIMIT_S):
                heard_ns = await notice
                if patient.end_notice is not None:
                    patient.end_notice_s = max(heard_ns - began_ns, 0) / NS_PER_S
    finally:
        notice.cancel()
        await asyncio.wait([notice], timeout=HANG_UP_LIMIT_S)
    patient.pid = None
    client, patient.client = patient.client, None
    if client is not None:
        await client.close()
    return Found(f"gone from the process list {gone.value:.2f} s after the order", (asked, gone))


async def _hear_of_end(patient: Patient, pid: int) -> int:
    """Host time (monotonic, ns) at which the phone's word came, or the attempt to hear it ended."""
    try:
        patient.end_notice = await patient.transport.wait_ended(pid)
    except DeviceError as error:
        patient.end_notice_problem = str(error)
    return time.monotonic_ns()


async def _termination_notice(patient: Patient) -> Found:
    if patient.end_notice_problem is not None:
        raise CheckFailed(patient.end_notice_problem)
    if patient.end_notice is None or patient.end_notice_s is None:
        text = f"the phone told of no end within {KILL_NOTICED_LIMIT_S:g} s after the process was gone"
        raise CheckFailed(text, "Ends are still noticed by the process list; please report it")
    figure = Figure("notice", round(patient.end_notice_s, 3), "s")
    return Found(f"came {figure.value:.2f} s after the order: {patient.end_notice}", (figure,))


def _client(patient: Patient) -> RunnerClient:
    assert patient.client is not None, "a step that speaks to the runner needs its launch"
    return patient.client


def _seconds(name: str, began_ns: int) -> Figure:
    return Figure(name, round((time.monotonic_ns() - began_ns) / NS_PER_S, 3), "s")


_SERVICE_S = limits.SERVICE_LIMIT_S + SLACK_S
_LAUNCH_S = 3 * limits.TUNNEL_LIMIT_S + START_LIMIT_S + HELLO_LIMIT_S + SLACK_S
_JOB_S = HOLD_MS / 1000 + PROGRESS_LIMIT_S + SLACK_S

APP_STEPS: tuple[Step[Patient], ...] = (
    Step(
        "launch",
        _launch,
        _LAUNCH_S,
        needs=("install",),
        unless_failed=("developer_services", "developer_mode", "developer_image"),
    ),
    Step("runner_clock", _runner_clock, HELLO_LIMIT_S + SLACK_S, needs=("launch",)),
    Step("telemetry", _telemetry, _JOB_S, needs=("launch", "push")),
    Step("system_monitor", _system_monitor, _SERVICE_S, needs=("telemetry",)),
    Step("kill", _kill, 4 * _SERVICE_S, needs=("launch",)),
    Step("termination_notice", _termination_notice, _SERVICE_S, needs=("kill",)),
)
