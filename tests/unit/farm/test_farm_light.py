"""What a phone's process does without: a host has one for each of its phones."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pandas", "matplotlib", "alembic", "psycopg")


def test_a_phones_process_waits_without_what_only_reports_need() -> None:
    script = f"import sys, harness.farm.host.phone_agent; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
