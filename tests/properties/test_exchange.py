"""Whatever trials are exported come back as they were; whatever is imported is taken or refused in plain words."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord
from harness.core.telemetry import Cut, HostStep, Notice, Phase, SampleGap
from harness.store.exchange.errors import ExchangeError
from harness.store.exchange.incoming import differences, read_file
from harness.store.exchange.outgoing import IMPORTABLE, Format, write_records
from harness.store.exchange.records import record_to_plain
from harness.store.schema import RECORD_TYPES
from tests.kept_trials import a_trial

INT64 = st.integers(-(2**63), 2**63 - 1)
# what a spreadsheet, a CSV reader or a line splitter may stumble over; no column holds NUL or half a character
TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(
        ["", "'", "''", "=1+1", "-3", "+", "@x", "\t", "\r", "\r\n", "\n", '"', ",", "null", "\u2028", "true"]
    ),
)
# within JSON they may be
ANY_TEXT = st.one_of(TEXT, st.sampled_from(["\0", "\ud800"]))
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), INT64, FLOAT, ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(ANY_TEXT, inner, max_size=2)),
    max_leaves=4,
)
MAYBE_INT = st.none() | INT64
ITEMS: dict[str, Any] = {
    "evidence": st.builds(Evidence, st.sampled_from(EvidenceKind), ANY_TEXT, st.none() | ANY_TEXT, st.booleans()),
    "phases": st.builds(Phase, ANY_TEXT, INT64, MAYBE_INT, MAYBE_INT),
    "host_steps": st.builds(HostStep, ANY_TEXT, INT64, MAYBE_INT, MAYBE_INT, MAYBE_INT),
    "cuts": st.builds(Cut, INT64, MAYBE_INT, MAYBE_INT, MAYBE_INT),
    "notices": st.builds(Notice, ANY_TEXT, INT64, st.none() | ANY_TEXT),
    "sample_gaps": st.builds(SampleGap, INT64, INT64),
}
PLAIN = {str: TEXT, bool: st.booleans(), int: INT64, float: FLOAT, dict: st.dictionaries(TEXT, JSON, max_size=2)}
# whose values are checked, and so made up by `a_trial`
FIXED = (
    "trial_id", "run_id", "suite_digest", "state", "started_at", "finished_at", "files_removed_at", "arm",
    "device_kind", "backend_requested", "cache_state", "outcome", "outcome_family", "expected_outcome",
)  # fmt: skip  # one name a line would hide that it is one list


@st.composite
def trials(draw: st.DrawFn) -> TrialRecord:
    """Some columns drawn, and so now and then each of them."""
    names = draw(st.lists(st.sampled_from([name for name in RECORD_TYPES if name not in FIXED]), max_size=12))
    changes: dict[str, Any] = {}
    for name in names:
        plain, optional = RECORD_TYPES[name]
        values = st.lists(ITEMS[name], max_size=3).map(tuple) if plain is tuple else PLAIN[plain]
        changes[name] = draw(st.none() | values if optional else values)
    trial_id = draw(st.from_regex(r"[0-9A-Za-z-]{1,12}", fullmatch=True))
    return a_trial(trial_id, outcome=draw(st.sampled_from(Outcome)).value, **changes)


def read(data: bytes, form: Format) -> tuple[TrialRecord, ...]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{form}"
        path.write_bytes(data)
        return read_file(path).records


def read_or_refused(data: bytes, form: Format) -> tuple[TrialRecord, ...] | str:
    """The trials, or the words of the refusal; any other error fails the test."""
    try:
        return read(data, form)
    except ExchangeError as error:
        return str(error)


def written(records: list[TrialRecord], form: Format) -> bytes:
    target = BytesIO()
    write_records(target, records, form)
    return target.getvalue()


@pytest.mark.parametrize("form", IMPORTABLE)
@settings(max_examples=60)
@given(st.lists(trials(), max_size=3, unique_by=lambda record: record.trial_id))
def test_what_goes_out_comes_in(form: Format, records: list[TrialRecord]) -> None:
    without_files = [replace(record, telemetry_file=None, artifacts_dir=None) for record in records]
    assert list(read(written(records, form), form)) == without_files


@settings(max_examples=60)
@given(trials())
def test_a_record_is_the_same_as_itself_alone(record: TrialRecord) -> None:
    other = replace(record, load_ns=None if record.load_ns is not None else 0)
    assert differences(record, record) == []
    assert differences(record, other) == ["load_ns"], "not known and 0 are two things"


@settings(max_examples=150)
@given(st.sampled_from(list(RECORD_TYPES)), JSON)
def test_a_foreign_value_is_taken_or_refused_by_the_name_of_its_column(name: str, value: Any) -> None:
    plain = record_to_plain(a_trial()) | {name: value}
    document = json.loads(written([], Format.JSON)) | {"trials": [plain]}
    found = read_or_refused(json.dumps(document).encode(), Format.JSON)
    if isinstance(found, str):
        assert name in found
        assert len(found) < 1000
    else:
        kept = record_to_plain(found[0])[name]
        assert kept == value or name in ("telemetry_file", "artifacts_dir")


@settings(max_examples=100)
@given(st.sampled_from(list(RECORD_TYPES)), st.text(st.characters(codec="utf-8"), max_size=12))
def test_a_foreign_cell_is_taken_or_refused_by_the_name_of_its_column(name: str, text: str) -> None:
    lines = list(csv.reader(StringIO(written([a_trial()], Format.CSV).decode(), newline="")))
    lines[1][lines[0].index(name)] = text
    table = StringIO(newline="")
    csv.writer(table).writerows(lines)
    found = read_or_refused(table.getvalue().encode(), Format.CSV)
    assert not isinstance(found, str) or name in found or "not CSV" in found


@settings(max_examples=100)
@given(st.sampled_from(IMPORTABLE), st.binary(max_size=60), st.integers(0, 4000), st.integers(0, 60))
def test_a_damaged_export_is_read_or_refused(form: Format, noise: bytes, at: int, cut: int) -> None:
    whole = written([a_trial(evidence=(Evidence(EvidenceKind.STEP, "«x»"),))], form)
    damaged = whole[:at] + noise + whole[at + cut :]
    found = read_or_refused(damaged, form)
    assert not isinstance(found, str) or "x." in found
