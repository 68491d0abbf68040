"""The two faces as a person meets them: the command and pytest, each in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.store.database import ResultStore

LIMIT_S = 600
SUITE = """
name = "faces"
[[models]]
name = "tiny"
synth = "tiny"
[options]
trials = 2
max_tokens = 128
hold_ms = {hold_ms}
[[expect]]
outcome = "{expected}"
"""


@pytest.fixture
def desk(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; caches and the phone's home lie apart from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    monkeypatch.delenv("USBMUXD_SOCKET_ADDRESS", raising=False)
    write_suite(tmp_path)
    return tmp_path


def write_suite(folder: Path, *, expected: str = "loaded", hold_ms: int = 50) -> None:
    (folder / "faces.toml").write_text(SUITE.format(expected=expected, hold_ms=hold_ms))


def harness(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "harness.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def run_pytest(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # the other plugins of our developers only take time
    plain = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist", "-W", "error"]
    command = [sys.executable, "-m", "pytest", *plain, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_run_prints_a_table_and_the_page(desk: Path) -> None:
    done = harness("run", "faces.toml", "--device", "virtual", folder=desk)
    assert done.returncode == 0, done.stderr
    assert "tiny/litert_lm/cpu/cold" in done.stdout
    assert "virtual" in done.stdout
    page = desk / done.stdout.strip().splitlines()[-1].removeprefix("report: ")
    assert "virtual" in page.read_text()
    (run_page,) = page.parent.glob("runs/*/index.html")
    assert f'href="{run_page.relative_to(page.parent)}"' in page.read_text()
    assert f"this run alone: {run_page.relative_to(desk)}" in done.stderr
    assert (run_page.parent / "summary.svg").is_file()


def test_run_as_json_and_a_model_that_does_otherwise_than_expected_is_exit_1(desk: Path) -> None:
    write_suite(desk, expected="bad_alloc")
    done = harness("run", "faces.toml", "--device", "virtual", "--json", folder=desk)
    trials = json.loads(done.stdout)["trials"]
    assert [trial["outcome"] for trial in trials] == ["loaded", "loaded"]
    assert done.returncode == 1
    assert "2 of 2 trials did not end as expected" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("run", "none.toml", "--device", "virtual"), 2, "none.toml"),
        (("run", "faces.toml", "--device", "fruit"), 2, "not a device word"),
        (("run", "faces.toml", "--device", "virtual:iphone-1"), 2, "iphone-16-pro"),
        (("run", "faces.toml", "--device", "virtual:iphone-16-pro,colour=red"), 2, "colour"),
        (("run", "faces.toml", "--device", "virtual:iphone-16-pro,footprint_limit=lots"), 2, "footprint_limit"),
        (("run", "faces.toml"), 2, "--device"),
        (("run", "faces.toml", "--device", "virtual", "--runner", "rust"), 2, "rust"),
        (("run", "faces.toml", "--device", "virtual", "--runner", "python", "--runner", "swift"), 2, "alone"),
        (("runner", "build", "--variant", "huge"), 2, "extended-addressing"),
        (("run", "faces.toml", "--device", "00008140-001A2B3C4D5E6F70"), 3, "usbmuxd"),
        (("models", "make", "huge"), 2, "tiny"),
        (("report",), 2, "harness run"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_wrong_use_is_named(
    desk: Path, arguments: tuple[str, ...], code: int, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an address at which nobody listens: whatever usbmuxd this machine has is not asked
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "127.0.0.1:9")
    done = harness(*arguments, folder=desk)
    assert complaint in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_devices_lists_the_virtual_phone(desk: Path) -> None:
    done = harness("devices", "--json", folder=desk)
    assert done.returncode == 0
    assert "virtual" in {phone["kind"] for phone in json.loads(done.stdout)}


def test_models_make_and_runner_build(desk: Path) -> None:
    made = json.loads(harness("models", "make", "tiny", "-o", "t.task", folder=desk).stdout)
    assert (desk / "t.task").stat().st_size == made["bytes"]
    built = json.loads(harness("runner", "build", "-o", "app", folder=desk).stdout)
    assert (desk / "app" / "Runner-plain.ipa").is_file()
    assert built["build"]


HAND_WRITTEN = """
def test_it(phone, load):
    record = load('tiny', cache='none', hold_ms=0)
    assert record.device_udid == phone.udid
    assert record.peak_footprint_bytes < 64 * 1024 * 1024
def test_no_gpu(load):
    load('tiny', backend='gpu', expect='load_error')
def test_wrong(load):
    load('tiny', backend='gpu')
"""


@pytest.fixture
def tests(desk: Path) -> list[str]:
    """A suite that does as expected, one that does not, and tests written by hand."""
    suite = SUITE.replace('"faces"', '"other"').replace("trials = 2", "trials = 1")
    (desk / "other.toml").write_text(suite.format(expected="jetsam", hold_ms=0))
    (desk / "test_mine.py").write_text(HAND_WRITTEN)
    return ["faces.toml", "other.toml", "test_mine.py"]


def test_suites_and_hand_written_tests_in_one_session(desk: Path, tests: list[str]) -> None:
    done = run_pytest(*tests, "--device=virtual", "-q", "--junitxml=loads.xml", "--load-build=1234", folder=desk)
    assert done.returncode == 1, done.stdout
    assert "4 passed" in done.stdout
    assert "2 failed" in done.stdout
    assert "loaded, expected jetsam" in done.stdout
    cases = ElementTree.parse(desk / "loads.xml").getroot().findall(".//testcase")
    failed = {str(case.get("name")) for case in cases if case.find("failure") is not None}
    assert len(failed) == 2
    assert any(name.startswith("test_wrong") for name in failed)
    # one item a trial
    trials = [case for case in cases if not str(case.get("name")).startswith("test_")]
    assert len(trials) == 3
    for case in trials:
        figures = {item.get("name"): item.get("value") for item in case.findall(".//property")}
        assert figures["outcome"] == "loaded"
        assert figures["device_kind"] == "virtual"
        assert figures["build"] == "1234"
        assert int(figures["peak_footprint_bytes"] or 0) > 0


def test_without_a_device_the_items_are_skipped(desk: Path, tests: list[str]) -> None:
    done = run_pytest(*tests, "-q", "-rs", folder=desk)
    assert "6 skipped" in done.stdout
    assert "--device" in done.stdout


def test_apps_of_several_variants_are_given_one_by_one(desk: Path) -> None:
    variants = ("plain", "both")
    built = [
        json.loads(harness("runner", "build", "--edition", "python", "--variant", name, folder=desk).stdout)
        for name in variants
    ]
    assert [app["variant"] for app in built] == [*variants]
    assert len({app["path"] for app in built}) == len({app["bundle_id"] for app in built}) == len(variants)
    suite = (desk / "faces.toml").read_text().replace("trials = 2", "trials = 1")
    (desk / "faces.toml").write_text(suite + '[matrix]\nvariants = ["plain", "both"]\n')
    refused = run_pytest("faces.toml", "--device=virtual", f"--load-runner={built[0]['path']}", "-q", folder=desk)
    assert "asks for the variant both of the runner app" in refused.stdout
    assert "1 error" in refused.stdout
    assert not (desk / "results").exists(), "nothing was done"
    given = [f"--load-runner={app['path']}" for app in built]
    done = run_pytest("faces.toml", "--device=virtual", *given, "-q", folder=desk)
    assert "2 passed" in done.stdout, done.stdout


def test_a_named_phone_that_is_absent_is_an_error(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = json.loads(harness("runner", "build", "--edition", "python", folder=desk).stdout)["path"]
    udid = "00008140-001A2B3C4D5E6F70"
    # an address at which nobody listens: whatever usbmuxd this machine has is not asked
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "127.0.0.1:9")
    done = run_pytest("faces.toml", f"--device={udid}", f"--load-runner={runner}", "-q", folder=desk)
    assert "2 errors" in done.stdout
    assert "skipped" not in done.stdout


def test_a_bad_suite_is_a_located_collection_error(desk: Path) -> None:
    (desk / "faces.toml").write_text('name = "x"\nmodels = []\n')
    done = run_pytest("faces.toml", "--device=virtual", "-q", folder=desk)
    assert "models" in done.stdout
    assert "Traceback" not in done.stdout
    assert done.returncode == 2


def processes_with(word: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return [line for line in found if word in line]


def eventually_no_process_with(word: str) -> None:
    deadline = time.monotonic() + 20
    while left := processes_with(word):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_kill_9_of_pytest_leaves_a_record_and_no_process(desk: Path) -> None:
    write_suite(desk, hold_ms=60_000)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "faces.toml", "--device=virtual", "-q"]
    home = desk / "state/iphone-load-harness/virtual/iphone-16-pro/1"
    process = subprocess.Popen(command, cwd=desk, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LIMIT_S
        spools: list[Path] = []
        while not any(spool.stat().st_size > 50_000 for spool in spools):
            assert process.poll() is None, "pytest ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
            spools = list((desk / "results/telemetry").glob("*.arrows"))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually_no_process_with(str(desk))
    eventually_no_process_with(str(home))
    assert not (home / "control.sock").exists()

    write_suite(desk)
    second = run_pytest("faces.toml", "--device=virtual", "-q", folder=desk)
    assert "2 passed" in second.stdout, second.stdout
    with ResultStore.open(desk / "results") as store:
        first, *others = store.trials()
    assert first.outcome == "harness_error"
    assert "gone before the trial ended; recovered" in (first.reason or "")
    assert first.telemetry_file is not None
    assert (desk / "results" / first.telemetry_file).is_file()
    assert [record.outcome for record in others] == ["loaded", "loaded"]
    assert not list((desk / "results/telemetry").glob("*.arrows"))
