"""Writes `results/README.md` from the fields of records and readings themselves.

python -m harness.store.document > results/README.md
"""

from __future__ import annotations

import sys
from dataclasses import MISSING

from harness.core.record import record_columns
from harness.core.telemetry import READING_COLUMNS
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION

_TYPE_NAMES = {str: "text", bool: "true or false", int: "integer", float: "number", dict: "object", tuple: "list"}

_READINGS = {
    "source": ("`app`: the runner's sampling thread; `host`: the phone's system monitor.", ""),
    "t_ns": ("Time, on the clock of the measured process; host readings are moved onto it.", "ns"),
    "seq": ("Number of the event in the wire language.", ""),
    "footprint_bytes": ("`phys_footprint`: what the kernel's limit is about.", "bytes"),
    "resident_bytes": ("Resident size; clean file-backed pages count here and not in the footprint.", "bytes"),
    "virtual_bytes": ("Size of the address space in use.", "bytes"),
    "available_bytes": ("What is left to the limit, as the app is told.", "bytes"),
    "metal_bytes": ("Allocated by the Metal device.", "bytes"),
    "compressed_bytes": ("Held by the compressor.", "bytes"),
    "pageins": ("Pages read from storage, since the start of the process.", ""),
    "faults": ("Page faults, since the start of the process.", ""),
    "cpu_ns": ("CPU time, since the start of the process.", "ns"),
    "thermal": ("Thermal state, 0 nominal to 3 critical.", ""),
    "graphics_bytes": ("The kernel's ledger of graphics memory of the process; iOS only.", "bytes"),
    "internal_bytes": ("Anonymous memory, without what is compressed; iOS only.", "bytes"),
    "external_bytes": ("Pages that files back; iOS only.", "bytes"),
    "decompressions": ("Pages that came back from the compressor, since the start of the process; iOS only.", ""),
    "swapins": ("Pages that came back from swap, since the start of the process; iOS only.", ""),
    "cow_faults": ("Copies on write, since the start of the process; iOS only.", ""),
}
_NEVER_NULL = ("source", "t_ns")

_HEAD = f"""\
# Results

Made by `python -m harness.store.document`; schema version {SCHEMA_VERSION}. The data itself is not committed.

| Path | What |
|---|---|
| `runs.db` | SQLite (WAL): table `trials`, a row a trial (columns below); `meta`: schema version; `claims`: who runs |
| `telemetry/<trial_id>.parquet` | readings of a done trial, sorted by time, columns below |
| `telemetry/<trial_id>.arrows` | readings of a running trial (Arrow stream); salvaged if its process died |
| `artifacts/<trial_id>/` | journal, stderr, crash reports and JetsamEvents |
| `report/` | pictures and page; disposable, rebuilt from the rest |

Null means *not known*: the platform has no such figure, or the trial ended before. It is never 0, and 0 is never null.
Numbers that are not numbers (NaN, infinity) are refused.

Keep the folder on a local disk: SQLite's WAL does not work on NFS or SMB.
"""


def document() -> str:
    """The text of `results/README.md`."""
    lines = [_HEAD, "## Trials", "", "| Column | Type | Unit | Null | Meaning |", "|---|---|---|---|---|"]
    for field in record_columns():
        plain, optional = RECORD_TYPES[field.name]
        null = "not known" if optional else "never"
        if field.default is not MISSING and field.default == ():
            null = "never; empty: none"
        lines.append(
            f"| `{field.name}` | {_TYPE_NAMES[plain]} | {field.metadata['unit']} | {null} | {field.metadata['doc']} |"
        )
    lines += ["", "## Readings", "", "| Column | Type | Unit | Null | Meaning |", "|---|---|---|---|---|"]
    for name in READING_COLUMNS:
        meaning, unit = _READINGS[name]
        kind = "text" if name == "source" else "integer"
        null = "never" if name in _NEVER_NULL else "host reading" if name == "seq" else "not known"
        lines.append(f"| `{name}` | {kind} | {unit} | {null} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
