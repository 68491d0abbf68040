"""Writes `results/README.md` from the fields of records and readings themselves.

python -m harness.store.document > results/README.md
"""

from __future__ import annotations

import sys
from dataclasses import MISSING
from enum import StrEnum

from sqlalchemy import Table

from harness.core.judgement import ConfirmationResult, TriageState
from harness.core.outcome import EvidenceKind
from harness.core.record import record_columns
from harness.core.standing import GivenUpBy, Kept, RunStanding, TrialStanding
from harness.core.telemetry import READING_COLUMNS
from harness.store.exchange.merge import LOCK_NAME as EXCHANGE_LOCK
from harness.store.farm_hold import LOCK_NAME as FARM_LOCK
from harness.store.neighbours import LOCK_NAME as SERVERS_LOCK
from harness.store.neighbours import NOTE
from harness.store.schema import (
    ITEM_TYPES,
    RECORD_TYPES,
    SCHEMA_VERSION,
    claims,
    confirmations,
    deliveries,
    farm_phones,
    farm_runs,
    farm_trials,
    meta,
    triage,
)
from harness.store.versions import revisions

_TYPE_NAMES = {
    object: "object",
    str: "text",
    bool: "true or false",
    int: "integer",
    float: "number",
    dict: "object",
    tuple: "list",
}

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


def _choice(values: type[StrEnum]) -> str:
    return ", ".join(f"`{value}`" for value in values)


_ITEMS = {
    "evidence": {
        "kind": f"{_choice(EvidenceKind)}.",
        "text": "What it says.",
        "file": "Its name among the trial's artifacts; null: no file was kept.",
        "decisive": "Whether the outcome rests on it.",
    },
    "phases": {
        "name": "Name of the span, as `create_engine` or `first_token`.",
        "begin_ns": "App's clock.",
        "end_ns": "App's clock; null: the process did not live to end it.",
        "kernel_peak_resident_bytes": "The kernel's high-water mark of resident size when it ended.",
    },
    "host_steps": {
        "name": "What the harness did.",
        "begin_ns": "Host's monotonic clock.",
        "end_ns": "Host's monotonic clock; null: it never came to its end.",
        "app_begin_ns": "App's clock; null: the offset of the clocks was not measured.",
        "app_end_ns": "Likewise.",
    },
    "cuts": {
        "gone_ns": "When the phone went, host's monotonic clock.",
        "back_ns": "When it came back; null: it did not.",
        "app_gone_ns": "App's clock; null: the offset of the clocks was not measured.",
        "app_back_ns": "Likewise.",
    },
    "notices": {
        "kind": "`memory_warning`, `memory_pressure`, `thermal`, `low_power`, or what a newer runner calls it.",
        "at_ns": "App's clock.",
        "text": "The new state, as `serious` or `on`; null: a warning.",
    },
    "sample_gaps": {
        "begin_ns": "When the sample before the gap was taken, app's clock.",
        "length_ns": "How long nothing followed.",
    },
}
"""Column → key → meaning, of the objects in a list; units are in the keys' names."""


_TABLES: dict[Table, tuple[str, dict[str, str]]] = {
    meta: (
        "What the database says of itself.",
        {"key": "`schema_version`.", "value": "The version, as text."},
    ),
    claims: (
        "Trials that are not done. The row goes with the trial's end; what is left by a dead process is salvaged.",
        {
            "trial_id": "The trial.",
            "owner": "Name of the lock in `.owners/` that its process holds: nobody holds it, the process is gone.",
            "place": "Content of `.place` of the folder where its files grow.",
        },
    ),
    triage: (
        "What a person has said of a verdict. Rows are added, never changed: the newest of a series and night counts.",
        {
            "id": "Counts up.",
            "series": "The series, in its text form (docs/nightly.md).",
            "first_bad": "First night of the change.",
            "state": f"What was said: {_choice(TriageState)}.",
            "reason": "Why.",
            "author": "Who.",
            "at": "When; ISO 8601, UTC.",
        },
    ),
    confirmations: (
        "Interleaved re-runs of the last good build against the first bad one.",
        {
            "id": "Counts up.",
            "series": "The series, in its text form (docs/nightly.md).",
            "first_bad": "First night of the change.",
            "result": f"What the re-run says: {_choice(ConfirmationResult)}.",
            "reason": "The same in words, or why there was none.",
            "run_id": "The re-run's trials; null: none was made.",
            "at": "When; ISO 8601, UTC.",
        },
    ),
    farm_runs: (
        "What a farm's hub was given to run, a row a target; the trials' own records have the same `run_id`.",
        {
            "run_id": "The run.",
            "suite": "Name of the suite.",
            "suite_digest": "As in `trials`.",
            "suite_text": "The suite, as it was submitted.",
            "base": "The suite file's folder where it was submitted from.",
            "target": (
                "Which phones run it: `class:iPhone17,1` (with ` (virtual)`, attached virtual ones of it), a virtual "
                "word, or one phone's name."
            ),
            "priority": "The higher goes first.",
            "attempts": "At most, at each trial.",
            "options": "How its trials are run, beside what the suite says.",
            "submitted_by": "`user@host`.",
            "submitted_at": "When; ISO 8601, UTC.",
            "state": f"{_choice(RunStanding)}.",
            "ended_at": "When it was done or cancelled; null: it is not.",
            "planned_s": "How long it was to take, in seconds, as told when it was submitted; null: nothing was known.",
        },
    ),
    farm_trials: (
        "How each trial of those runs stands. A record becomes a trial's result only while its attempt is under way.",
        {
            "run_id": "The run.",
            "case": "As in `trials`.",
            "ordinal": "As in `trials`.",
            "number": "Place in the suite's order, from 1.",
            "attempt": "The attempt that is under way or gave the result; of a waiting trial the next one.",
            "state": f"{_choice(TrialStanding)}.",
            "phone": "Where it runs or ran; null: nowhere yet.",
            "host": "Whose phone that is.",
            "trial_id": "Of the record that is its result; null: it has none.",
            "reason": "Why it waits again, or was given up; empty: neither.",
            "changed_at": "When the row was last changed; ISO 8601, UTC.",
            "given_up_by": f"What left it without a result: {_choice(GivenUpBy)}; null: it is not given up.",
        },
    ),
    farm_phones: (
        "What a farm's hub was told of phones and hosts, or found: it outlives the hub's process.",
        {
            "phone": "The phone, or the host.",
            "drained": "By whom and why it takes no more trials; null: it does.",
            "out": "Why it takes none until it passes `harness doctor`; null: it does.",
            "reserved_until": "ISO 8601, UTC; null: it is not reserved.",
            "reserved_by": "For whom; empty: nobody.",
            "reason": "Of the reservation, if one was given.",
        },
    ),
    deliveries: (
        "Of a host of a farm: its trials that the hub has. Done trials without a row here are still to be delivered.",
        {
            "trial_id": "The trial.",
            "delivered_at": "When the hub said so; ISO 8601, UTC.",
            "kept": f"As what the hub keeps it: {_choice(Kept)}.",
        },
    ),
    revisions: (
        "Alembic's own note of the version, changed together with `meta`.",
        {"version_num": "The version, as text."},
    ),
}

_HEAD = f"""\
# Results

Made by `python -m harness.store.document`; schema version {SCHEMA_VERSION}. The data itself is not committed.

| Path | What |
|---|---|
| `runs.db` | the records, in SQLite (WAL); not there when they are in PostgreSQL |
| `runs.db.v<N>.backup` | the database as it was before it was migrated from version N; yours to remove |
| `telemetry/<trial_id>.parquet` | readings of a done trial, sorted by time, columns below (zstd, delta-packed) |
| `telemetry/<trial_id>.arrows` | readings of a running trial (Arrow stream); salvaged if its process died |
| `telemetry/<trial_id>.arrows.broken` | such a stream that could not be read |
| `artifacts/<trial_id>/` | journal, stderr, crash reports and JetsamEvents |
| `apps/` | builds of the runner app that a comparison installs again |
| `suites/` | suites as they were run, by digest, for `--resume` |
| `report/` | pictures and page; disposable, rebuilt from the rest |
| `.place` | this folder's own id. Not to be copied to another folder that is used with the same server |
| `{NOTE}` | servers whose databases name files here, a line each, no passwords; `harness results gc` asks it |
| `notified.json`, `.notify.lock` | what a webhook was told (`harness verdicts notify`) |
| `.runs/<run>.now` | what a run is at just now; goes with it |
| `.owners/`, `.runs/`, `.lock`, `.place.lock` | locks: who is at work. Worth nothing once all have ended |
| `{SERVERS_LOCK}`, `{EXCHANGE_LOCK}`, `{FARM_LOCK}` | likewise; the last is the farm's hub's |

Null means *not known*: the platform has no such figure, or the trial ended before. It is never 0, and 0 is never null.
Numbers that are not numbers (NaN, infinity) are refused. In pandas null is `pandas.NA`; no column holds NaN.
A NUL in a text is kept as U+FFFD, since PostgreSQL takes none. Times as text are UTC and sort as time does.

Keep the folder on a local disk: SQLite's WAL does not work on NFS or SMB.

## PostgreSQL

`--results 'postgresql://user@host/database?files=FOLDER'` (`pip install 'iphone-load-harness[postgresql]'`) keeps the
same tables in a database, for several hosts. The files stay in FOLDER (`results/` without `files`) of the host that ran
the trial: `host_name` says which, `telemetry_file` and `artifacts_dir` are relative to it. Each host salvages only what
grows in its own folder. Give the database to the harness alone, or a schema of it
(`&options=-csearch_path%3Dharness`). The password is taken from the URL, PGPASSWORD or `~/.pgpass`; in the URL, `/`,
`?`, `#` and `@` of a password are written `%2F`, `%3F`, `%23` and `%40`.

## Versions

Whoever writes migrates: a command that runs trials, imports or merges brings an older database to its own version, in
one transaction, and says so on stderr; of a SQLite file a backup is made first. While a run of the old version is under
way, it refuses. Whoever only reads changes nothing: an older SQLite file is read from a migrated copy, an older
PostgreSQL database is refused. A newer database is refused and left untouched. There is no way back but the backup.

What a migrated row holds in columns that came later: null, but `attempt` 1, `copies` 1 and `app_variant` `plain`
(nothing else could be had), empty lists in `host_steps`, `cuts`, `sample_gaps` and `notices` (nobody kept them), and
`cut_short` as the reason tells: of trials that were salvaged or interrupted.
"""

_COLUMN_HEAD = ["", "| Column | Type | Unit | Null | Meaning |", "|---|---|---|---|---|"]


def _lists() -> list[str]:
    """Raises KeyError for a key that `_ITEMS` does not tell of."""
    lines = ["", "### Lists", "", "What the objects in a column of lists hold; `_ns` is nanoseconds, `_bytes` bytes."]
    lines += ["", "| Column | Key | Type | Null | Meaning |", "|---|---|---|---|---|"]
    for column, keys in ITEM_TYPES.items():
        for key, (plain, optional) in keys.items():
            # a kind of evidence is a text, too
            kind = _TYPE_NAMES.get(plain, "text")
            null = "can be" if optional else "never"
            lines.append(f"| `{column}` | `{key}` | {kind} | {null} | {_ITEMS[column][key]} |")
    return lines


def _other_tables() -> list[str]:
    lines = ["", "## Other tables"]
    for table, (what, meanings) in _TABLES.items():
        lines += ["", f"`{table.name}`: {what}", "", "| Column | Type | Null | Meaning |", "|---|---|---|---|"]
        for column in table.columns:
            kind = _TYPE_NAMES[column.type.python_type]
            null = "can be" if column.nullable else "never"
            lines.append(f"| `{column.name}` | {kind} | {null} | {meanings[column.name]} |")
    return lines


def document() -> str:
    """The text of `results/README.md`."""
    lines = [_HEAD, "## Trials", "", "Table `trials`, a row a trial.", *_COLUMN_HEAD]
    for field in record_columns():
        plain, optional = RECORD_TYPES[field.name]
        null = "not known" if optional else "never"
        if field.default is not MISSING and field.default == ():
            null = "never; empty: none"
        lines.append(
            f"| `{field.name}` | {_TYPE_NAMES[plain]} | {field.metadata['unit']} | {null} | {field.metadata['doc']} |"
        )
    lines += [*_lists(), *_other_tables(), "", "## Readings", *_COLUMN_HEAD]
    for name in READING_COLUMNS:
        meaning, unit = _READINGS[name]
        kind = "text" if name == "source" else "integer"
        null = "never" if name in _NEVER_NULL else "host reading" if name == "seq" else "not known"
        lines.append(f"| `{name}` | {kind} | {unit} | {null} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
