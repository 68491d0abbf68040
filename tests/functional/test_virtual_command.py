"""`harness virtual`: what there is, and phones for any tool."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from harness.virtual.profiles import profile_names

LIMIT_S = 180.0
COMMAND = [sys.executable, "-W", "error", "-m", "harness.cli", "virtual"]


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_the_list_is_a_table_that_marks_what_is_assumed() -> None:
    done = ended("list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(rows) == {"profile", *profile_names()}
    assert "iPhone17,1" in rows["iphone-16-pro"]
    assert "18.0 – 26.2" in rows["iphone-16-pro"]
    assert "3376 MiB " in rows["iphone-16-pro"], "reported of this phone"
    assert "3376 MiB*" in rows["iphone-16"], "lent by its class"


def test_the_list_for_machines_has_bytes_and_sources() -> None:
    done = ended("list", "--json")
    rows = {row["profile"]: row for row in json.loads(done.stdout)}
    assert list(rows) == profile_names()
    assert rows["iphone-xr"]["ram_bytes"] == 3 * 1024**3
    assert rows["iphone-xr"]["sources"]["footprint_limit"] == "observed"
    assert rows["iphone-xr"]["sources"]["product_type"] == "irecv_devices"


def test_run_passes_everything_on_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    words = ["run", "--profile", "iphone-xr", "--profile", "iphone-air,battery=5", "--set", "seed=7"]
    words += ["--home", str(tmp_path / "homes"), "--socket", str(tmp_path / "usbmuxd")]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["usbmux"] == str(tmp_path / "usbmuxd")
        assert [row["profile"] for row in line["phones"]] == ["iphone-xr", "iphone-air"]
        assert line["pid"] == process.pid, "in the command's place"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0


def test_wrong_use_is_wrong_use() -> None:
    done = ended("run", "--set", "colour=red")
    assert (done.returncode, done.stdout) == (2, "")
    assert "colour=red" in done.stderr
