"""How apps of a virtual phone end, what is left behind as evidence, and that nothing survives the phone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.virtual.running import ControlRefused, RunningPhone

if TYPE_CHECKING:
    from tests.functional.conftest import MakeIpa, StartPhone

Eventually = Callable[[Callable[[], object]], None]
BUNDLE_ID = "com.example.probe"
MIB = 1024 * 1024
APP = f"""#!{sys.executable} -IS
import json, os, sys, time
task = sys.argv[1]
if task == "eat":
    held = []
    while True:
        held.append(bytearray(2 << 20))
        time.sleep(0.005)
if task == "map":
    import mmap
    with open("Documents/model", "r+b") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        print(sum(view[i] for i in range(0, len(view), 4096)), flush=True)
    time.sleep(100)
if task == "allocate":
    try:
        held = bytearray(400 << 20)
    except MemoryError:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\\n  what():  std::bad_alloc\\n")
        os.abort()
if task == "redirect":
    error = os.open("Documents/stderr.txt", os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(error, 2)
    time.sleep(0.2)
    os.write(2, b"F0000 check failed: shape\\n")
    os.abort()
if task == "elsewhere":
    error = os.open(sys.argv[2], os.O_WRONLY)
    os.dup2(error, 2)
    time.sleep(0.2)
    os.abort()
if task == "exit":
    sys.exit(int(sys.argv[2]))
if task == "tell":
    with open("Documents/told.json", "w") as file:
        json.dump({{"env": dict(os.environ), "cwd": os.getcwd(), "args": sys.argv[1:],
                   "fds": sorted(os.listdir("/proc/self/fd"))}}, file)
time.sleep(100)
"""


def install(phone: RunningPhone, package: Path) -> None:
    async def run() -> None:
        client = await create_using_usbmux(serial=phone.udid, autopair=True)
        async with client, InstallationProxyService(client) as installer:
            await installer.install_from_local(package, developer=True)

    asyncio.run(run())


def launch(phone: RunningPhone, *arguments: str) -> int:
    return int(phone.control("launch", bundle_id=BUNDLE_ID, arguments=list(arguments))["pid"])


def ended(phone: RunningPhone, pid: int) -> dict[str, Any] | None:
    return next((entry for entry in phone.truth() if entry["event"] == "end" and entry["pid"] == pid), None)


def reports(phone: RunningPhone, prefix: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    found = []
    for file in sorted((phone.home / "CrashReports").glob(f"{prefix}-*.ips")):
        header, _, body = file.read_text(encoding="utf-8").partition("\n")
        found.append((json.loads(header), json.loads(body)))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def probe(phone_starter: StartPhone, make_ipa: MakeIpa) -> RunningPhone:
    """A phone with a footprint limit of 60 MiB, an allocation limit of 300 MiB, and the app that tests both."""
    phone = phone_starter({"footprint_limit": "60MiB", "allocation_limit": "300MiB"})
    install(phone, make_ipa(APP))
    return phone


def test_an_app_over_its_footprint_limit_is_killed_and_the_jetsam_event_names_it(
    probe: RunningPhone, eventually: Eventually
) -> None:
    pid = launch(probe, "eat")
    eventually(lambda: ended(probe, pid))
    end = ended(probe, pid)
    assert end is not None
    assert (end["signal"], end["exit_code"]) == (signal.SIGKILL, None)
    assert end["start_ns"] < end["decided_ns"] < end["observed_ns"]
    ((header, body),) = reports(probe, "JetsamEvent")
    assert header["bug_type"] == "298"
    (victim,) = [process for process in body["processes"] if "reason" in process]
    assert (victim["pid"], victim["name"], victim["reason"]) == (pid, "Probe", "per-process-limit")
    # the report is written from what the watch saw: more than the limit, and not much more
    seen_bytes = victim["rpages"] * body["memoryStatus"]["pageSize"]
    assert 60 * MIB < seen_bytes < 120 * MIB
    assert victim["lifetimeMax"] >= victim["rpages"]
    assert reports(probe, "Probe") == []


def test_a_mapped_file_does_not_count_as_footprint(probe: RunningPhone, eventually: Eventually) -> None:
    documents = probe.home / "Containers" / BUNDLE_ID / "Documents"
    (documents / "model").write_bytes(b"x" * (100 * MIB))
    pid = launch(probe, "map")

    def resident() -> bool:
        reading = probe.control("memory", pid=pid)["memory"]
        assert reading is not None, "a mapped file must not count"
        assert reading["footprint_bytes"] < 60 * MIB
        return bool(reading["resident_bytes"] > 100 * MIB)

    eventually(resident)


def test_an_allocation_over_the_limit_fails_in_the_app_and_leaves_a_crash_report(
    probe: RunningPhone, eventually: Eventually
) -> None:
    pid = launch(probe, "allocate")
    eventually(lambda: ended(probe, pid))
    ((header, body),) = reports(probe, "Probe")
    assert (header["bug_type"], header["bundleID"]) == ("309", BUNDLE_ID)
    assert (body["pid"], body["procName"], body["bundleID"]) == (pid, "Probe", BUNDLE_ID)
    assert (body["exception"]["type"], body["exception"]["signal"]) == ("EXC_CRASH", "SIGABRT")
    assert (body["termination"]["namespace"], body["termination"]["indicator"]) == ("SIGNAL", "Abort trap: 6")
    assert body["asi"]["libc++abi"] == ["terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc"]
    assert body["asi"]["libsystem_c.dylib"] == ["abort() called"]
    assert reports(probe, "JetsamEvent") == []


def test_a_crash_report_follows_standard_error_into_the_container(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "redirect")
    eventually(lambda: ended(probe, pid))
    ((_, body),) = reports(probe, "Probe")
    assert body["asi"]["Probe"] == ["F0000 check failed: shape"]


def test_a_crash_report_quotes_no_file_outside_the_container(
    probe: RunningPhone, eventually: Eventually, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("terminating: secret\n", encoding="utf-8")
    pid = launch(probe, "elsewhere", str(secret))
    eventually(lambda: ended(probe, pid))
    ((_, body),) = reports(probe, "Probe")
    assert "secret" not in json.dumps(body["asi"])


@pytest.mark.parametrize(("arguments", "code", "number"), [(("exit", "3"), 3, None), (("sleep",), None, 9)])
def test_a_clean_exit_and_a_kill_leave_no_report(
    probe: RunningPhone, eventually: Eventually, arguments: tuple[str, ...], code: int | None, number: int | None
) -> None:
    pid = launch(probe, *arguments)
    if number is not None:
        probe.control("kill", pid=pid)
    eventually(lambda: ended(probe, pid))
    end = ended(probe, pid)
    assert end is not None
    assert (end["exit_code"], end["signal"], end["decided_ns"]) == (code, number, None)
    assert list((probe.home / "CrashReports").iterdir()) == []


def test_two_crashes_in_one_second_leave_two_reports(probe: RunningPhone, eventually: Eventually) -> None:
    for _ in range(3):
        pid = launch(probe, "allocate")
        eventually(lambda pid=pid: ended(probe, pid))  # type: ignore[misc]  # a default argument has no type to infer
    assert len(reports(probe, "Probe")) == 3


def test_an_app_finds_its_container_and_a_small_environment(probe: RunningPhone, eventually: Eventually) -> None:
    pid = int(
        probe.control(
            "launch", bundle_id=BUNDLE_ID, arguments=["tell", "two words"], environment={"ASKED": "yes", "HOME": "/"}
        )["pid"]
    )
    container = probe.home / "Containers" / BUNDLE_ID
    told_file = container / "Documents" / "told.json"
    eventually(lambda: told_file.exists() and told_file.stat().st_size)
    told = json.loads(told_file.read_text(encoding="utf-8"))
    environment = told["env"]
    assert told["cwd"] == environment["HOME"] == str(container)
    assert told["args"] == ["tell", "two words"]
    assert environment["TMPDIR"] == str(container / "tmp")
    assert environment["ASKED"] == "yes"
    assert environment["VIRTUAL_IPHONE"] == "1"
    assert environment["VIRTUAL_FOOTPRINT_LIMIT_BYTES"] == str(60 * MIB)
    assert environment["VIRTUAL_HW_MACHINE"] == "iPhone17,1"
    assert environment["VIRTUAL_OS_BUILD"] == "22F76"
    assert "USBMUXD_SOCKET_ADDRESS" not in environment
    assert len(told["fds"]) <= 5  # the three standard ones, the file, the listing: nothing of the phone's
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    assert f"Max data size             {300 * MIB}" in limits
    assert "Max core file size        0 " in limits


def test_an_app_runs_once(probe: RunningPhone) -> None:
    first = launch(probe, "sleep")
    again = probe.control("launch", bundle_id=BUNDLE_ID, arguments=["sleep"], kill_existing=False)["pid"]
    assert again == first
    second = launch(probe, "sleep")
    assert second != first
    assert [row["pid"] for row in probe.control("processes")["processes"]] == [second]


def test_an_executable_that_cannot_run_is_refused_with_the_reason(probe: RunningPhone, make_ipa: MakeIpa) -> None:
    install(probe, make_ipa("#!/no/such/interpreter\n", version="2"))
    with pytest.raises(ControlRefused, match="No such file"):
        launch(probe)
    assert probe.control("processes")["processes"] == []


def test_a_locked_phone_launches_nothing(probe: RunningPhone) -> None:
    probe.control("trust", state="locked")
    with pytest.raises(ControlRefused, match="locked"):
        launch(probe, "sleep")


def test_a_phone_that_is_ended_takes_its_apps_along(probe: RunningPhone) -> None:
    pid = launch(probe, "sleep")
    assert probe.stop() == 0
    assert not alive(pid)
    assert not (probe.home / "control.sock").exists()


def test_a_phone_that_is_killed_takes_its_apps_along(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "sleep")
    os.kill(probe.pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))


def test_a_phone_ends_when_its_starter_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    starter = (
        "import sys, time, pathlib; from harness.virtual.running import start_phone\n"
        "print(start_phone(home=pathlib.Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", starter, str(tmp_path / "home")], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    eventually(lambda: not alive(pid))


def test_a_unix_socket_is_removed_at_the_end(tmp_path: Path, eventually: Eventually) -> None:
    socket = tmp_path / "usbmuxd"
    command = [sys.executable, "-m", "harness.virtual", "--home", str(tmp_path / "home"), "--socket", str(socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as phone:
        assert phone.stdout is not None
        assert json.loads(phone.stdout.readline())["usbmux"] == str(socket)
        assert socket.is_socket()
        phone.send_signal(signal.SIGINT)
        assert phone.wait(30) == 0
    assert not socket.exists()
