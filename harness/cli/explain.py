"""`harness explain`: why a trial ended as it did, in plain words."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json
from harness.core.errors import UsageError
from harness.core.record import TrialRecord
from harness.core.text import printable

if TYPE_CHECKING:
    from harness.store.database import ResultStore

LAST = "last"
# Ids that an error lists; a folder may hold thousands.
MAX_LISTED = 5
MAX_FILES = 100


def explain(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, the begin of one, or last.")],
    results: Annotated[Path, typer.Option("--results", help="The results folder.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="For machines: the record and the explanation.")] = False,
) -> None:
    """Tell the chain of evidence behind a trial's outcome."""
    from harness.report.explanation import explain as explain_record
    from harness.store.database import ResultStore

    if not (results / "runs.db").is_file():
        raise UsageError(f"{results} holds no results (no runs.db); run a suite first: harness run SUITE.toml")
    with ResultStore.open(results) as store:
        record = find_trial(store, trial)
    sections = explain_record(record, kept_files(results, record))
    if as_json:
        told = [{"title": section.title, "lines": section.lines} for section in sections]
        print_json({"trial": asdict(record), "explanation": told})
        return
    typer.echo(f"Trial {record.trial_id}")
    for section in sections:
        typer.echo(f"\n{section.title}")
        for line in section.lines:
            typer.echo(f"  {printable(line)}")


def kept_files(results: Path, record: TrialRecord) -> list[str]:
    """Names of the files in the trial's folder, relative to it; none where there is no such folder."""
    if record.artifacts_dir is None:
        return []
    folder = results / record.artifacts_dir
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return names[:MAX_FILES]


def find_trial(store: ResultStore, word: str) -> TrialRecord:
    """The trial that `word` names; raises UsageError naming the nearest when none or several do."""
    ids = store.trial_ids()
    if not ids:
        raise UsageError(f"{store.folder} holds no trials yet")
    found = ids[-1:] if word == LAST else [one for one in ids if one.startswith(word)]
    if word in found:
        found = [word]
    if not word or not found:
        nearest = difflib.get_close_matches(word, ids, n=MAX_LISTED, cutoff=0.3) or ids[-MAX_LISTED:]
        raise UsageError(f"there is no trial {word!r} in {store.folder}; the nearest: {', '.join(nearest)}")
    if len(found) > 1:
        more = ", …" if len(found) > MAX_LISTED else ""
        raise UsageError(
            f"{word!r} is the begin of {len(found)} trials: {', '.join(found[:MAX_LISTED])}{more}; give more of it"
        )
    (record,) = store.trials(trial_id=found[0])
    return record
