"""What comparison pages say, made of the trials of their sides. Reads records and kept suites from the store."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.metrics import DEFAULT_METRICS
from harness.analysis.nightly import COLUMNS
from harness.analysis.series import BUILD_COLUMNS
from harness.core.outcome import EMULATED_GPU, Outcome
from harness.core.record import TrialRecord, is_demo
from harness.core.text import printable
from harness.report.site.comparison_choice import ARMS, MAX_SIDES, Shown, Side, TrialRow
from harness.report.site.comparison_pages import (
    ComparisonContent,
    GroupContent,
    SideContent,
    SuiteCopy,
    TrialRows,
)
from harness.report.site.data import SiteData
from harness.report.site.trial_files import telemetry_file
from harness.report.words import case_text, device_text, outcomes_text

_MAX_NAME_CHARS = 200
_SUITES = "suites"
_DIGEST = re.compile(r"[0-9a-f]{12}")
_PUBLISHED = b"published"
"""In every suite that quotes somebody."""

_Rows = Sequence[TrialRow]


def contents(data: SiteData, comparisons: Sequence[Shown], linked: frozenset[str]) -> Iterator[ComparisonContent]:
    """`linked`: ids of the trials that have a page."""
    ids = sorted({side.stand_in for one in comparisons for side in one.sides})
    records = {record.trial_id: record for record in data.store.trials(trial_id=ids)}
    suites = _suites(data, comparisons)
    for one in comparisons:
        rows = [side.trials for side in one.sides]
        cases = list(dict.fromkeys(side.case for side in one.sides))
        sides = [
            _side(data, side, of_side, _key(side, number), records[side.stand_in], linked)
            for number, (side, of_side) in enumerate(zip(one.sides, rows, strict=True), start=1)
        ]
        if one.of_builds:
            groups = tuple(
                GroupContent(
                    printable(case), tuple(s for s, of in zip(sides, one.sides, strict=True) if of.case == case)
                )
                for case in cases
            )
            builds = [
                _build([row for side, of in zip(one.sides, rows, strict=True) if side.arm == arm for row in of])
                for arm in ARMS
            ]
            title = f"Two sides compared: {builds[0]} and {builds[1]}"
            lead = f"A: {builds[0]}. B: {builds[1]}."
        else:
            groups = (GroupContent("", tuple(sides)),)
            title = f"{one.suite} on {one.device_product_type} ({one.device_kind}): its cases side by side"
            lead = f"The cases of the newest run of suite {one.suite}."
        everything = [row for of_side in rows for row in of_side]
        notes = [*_confirmations(data, one.run_id)] if one.of_builds else []
        if one.left_out:
            notes.append(f"{one.left_out} more are not shown: {MAX_SIDES} at most can be told apart.")
        yield ComparisonContent(
            page=one.page,
            title=printable(title)[:_MAX_NAME_CHARS],
            lead=(printable(lead), _where(one, everything)),
            virtual=one.virtual,
            demo=any(is_demo(row["origin"]) for row in everything),
            of_builds=one.of_builds,
            notes=tuple(map(printable, notes)),
            groups=groups,
            trials=TrialRows(COLUMNS, tuple(tuple(row[name] for name in COLUMNS) for row in everything))
            if one.of_builds
            else None,
            suite=suites.get(one.run_id),
        )


def _key(side: Side, number: int) -> str:
    return str(number) if side.arm is None else side.arm.upper()


def _side(
    data: SiteData, side: Side, rows: _Rows, key: str, record: TrialRecord, linked: frozenset[str]
) -> SideContent:
    loaded = [row for row in rows if row["outcome"] == Outcome.LOADED]
    emulated = any(row["backend_effective"] == EMULATED_GPU for row in rows)
    name = case_text(side.case, gpu_emulated=emulated) if side.arm is None else _build(rows)
    limits = [row["footprint_limit_bytes"] for row in rows if row["footprint_limit_bytes"] is not None]
    expected = dict.fromkeys(row["expected_outcome"] for row in rows)
    return SideContent(
        key=key,
        name=printable(name)[:_MAX_NAME_CHARS],
        trials=len(rows),
        ends=printable(outcomes_text(dict(Counter(row["outcome"] for row in rows).most_common()))),
        expected=printable(" or ".join(map(str, expected))),
        as_expected=all(row["outcome"] == row["expected_outcome"] for row in rows),
        over_limits=sum(bool(row["broken_limits"]) for row in rows),
        loaded=len(loaded),
        values=tuple(
            (metric, tuple(float(row[metric]) for row in loaded if row[metric] is not None))
            for metric in DEFAULT_METRICS
        ),
        limits=tuple(map(float, limits)),
        head_room=tuple(
            float(row["footprint_limit_bytes"] - row["peak_footprint_bytes"])
            for row in loaded
            if row["footprint_limit_bytes"] is not None and row["peak_footprint_bytes"] is not None
        ),
        record=record,
        telemetry=telemetry_file(data.store, record),
        linked=side.stand_in in linked,
    )


def _build(rows: _Rows) -> str:
    """What was under test, by the name that says most."""
    for name in BUILD_COLUMNS:
        values = list(dict.fromkeys(str(row[name]) for row in rows if row[name] is not None))
        if values:
            return printable(f"{name.replace('_', ' ')} {', '.join(values[:3])}")[:_MAX_NAME_CHARS]
    return "a build that the records do not name"


def _where(one: Shown, rows: _Rows) -> str:
    devices = ", ".join(sorted({device_text(row) for row in rows}))
    versions = ", ".join(sorted({row["device_os_version"] for row in rows}))
    begun = min(row["started_at"] for row in rows)
    return printable(f"On {devices}, iOS {versions}; run {one.run_id}, begun {begun}, {len(rows)} trials.")


def _confirmations(data: SiteData, run_id: str) -> Iterator[str]:
    for verdict in data.verdicts:
        said = verdict.confirmation
        if said is not None and said.run_id == run_id:
            yield f"It was run to confirm {verdict.series.text}: {said.result.value.replace('_', ' ')}. {said.reason}"


def _suites(data: SiteData, comparisons: Sequence[Shown]) -> Mapping[str, SuiteCopy]:
    """Run → the copy of its suite beside the results, where there is one that quotes somebody."""
    runs = [one.run_id for one in comparisons if not one.of_builds]
    rows = data.store.columns(["run_id", "suite_digest"], run_id=runs).dropna().drop_duplicates("run_id")
    found = {}
    for run_id, digest in rows.itertuples(index=False, name=None):
        path = data.store.folder / _SUITES / f"{digest}.toml"
        if _DIGEST.fullmatch(str(digest)) and path.is_file():
            content = path.read_bytes()
            if _PUBLISHED in content:
                results = str(data.store.folder.resolve())
                found[str(run_id)] = SuiteCopy(results, str(digest), hashlib.sha256(content).hexdigest())
    return found
