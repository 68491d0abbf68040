"""`harness explain`: why a trial ended as it did, in plain words, and what its evidence advises."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json
from harness.cli.flags import ResultsText
from harness.core.errors import UsageError
from harness.core.record import TrialRecord, TrialState
from harness.core.text import printable
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.core.model_file import ModelFile
    from harness.store.database import ResultStore

LAST = "last"
# Ids that an error lists; a folder may hold thousands.
MAX_LISTED = 5
MAX_FILES = 100


def explain(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, the begin of one, or last.")],
    results_text: ResultsText = DEFAULT_FOLDER,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="The trial's model file, for advice on its figures; a made one is found by itself."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: the record, the explanation and the advice.")
    ] = False,
) -> None:
    """Tell the chain of evidence behind a trial's outcome, and what it advises."""
    from harness.analysis.advice import advise
    from harness.report.explanation import explain as explain_record
    from harness.store.database import ResultStore

    results = parse_results(results_text)
    results.must_exist()
    with ResultStore.open_existing(results) as store:
        record = find_trial(store, trial)
        neighbours = store.trials(
            state=TrialState.DONE.value,
            device_kind=record.device_kind,
            device_product_type=record.device_product_type,
        )
    advice = advise(record, neighbours, model_of(record, model))
    sections = explain_record(record, kept_files(results.folder, record), advice)
    if as_json:
        told = [{"title": section.title, "lines": section.lines} for section in sections]
        print_json({"trial": asdict(record), "explanation": told, "advice": [asdict(one) for one in advice]})
        return
    typer.echo(f"Trial {record.trial_id}")
    for section in sections:
        typer.echo(f"\n{section.title}")
        for line in section.lines:
            typer.echo(f"  {printable(line)}")


def model_of(record: TrialRecord, given: Path | None) -> ModelFile | None:
    """What the trial's model file says of itself; None where the file is not at hand any more.

    Raises UsageError for a given file that is no model, or another one than the trial's.
    """
    from harness.bench.fetch import find_fetched
    from harness.bench.model_files import inspect_model
    from harness.bench.models import models_folder

    made = models_folder() / Path(record.model_file).name
    path = given or find_fetched(models_folder(), record.model_sha256) or made
    if given is None and not (path.is_file() and path.stat().st_size == record.model_bytes):
        return None
    try:
        model = inspect_model(path, digest=given is not None)
    except UsageError:
        if given is not None:
            raise
        return None
    if given is not None and model.sha256 != record.model_sha256:
        raise UsageError(
            f"{path} is another file than the trial's {record.model_file} (its SHA-256 is {model.sha256}, not "
            f"{record.model_sha256}): give the file that the trial loaded"
        )
    return model


def kept_files(results: Path, record: TrialRecord) -> list[str]:
    """Names of the files in the trial's folder, relative to it; none where there is no such folder."""
    if record.artifacts_dir is None:
        return []
    folder = results / record.artifacts_dir
    if not folder.resolve().is_relative_to(results.resolve()):
        # the row was written by somebody else: a record is no way out of its folder
        return []
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(islice(files, MAX_FILES))


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
