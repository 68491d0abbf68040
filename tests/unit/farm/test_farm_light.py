"""What a phone's process does without: a host has one for each of its phones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import harness.farm.host.phone_agent
from harness.core.telemetry import Reading, Source
from harness.store.telemetry import TelemetrySpool, recover, write_parquet

folder = Path(sys.argv[1])
with TelemetrySpool(folder / "one.arrows") as spool:
    spool.append([Reading(source=Source.APP, t_ns=1, footprint_bytes=2), Reading(source=Source.HOST, t_ns=3)])
write_parquet(folder / "one.parquet", recover(folder / "one.arrows"))
print([name for name in ("pandas", "matplotlib", "alembic", "psycopg") if name in sys.modules])
"""


def test_a_phones_process_measures_without_what_only_reports_need(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
