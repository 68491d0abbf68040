"""`harness results merge`: other results into these."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from harness.cli.console import print_json, talk
from harness.cli.flags import AsJson, ResultsText
from harness.core.units import format_bytes
from harness.store.address import DEFAULT_FOLDER, FORMS, parse_results

# Ids that a line names.
MAX_NAMED = 5


def merge_results(
    other: Annotated[str, typer.Argument(metavar="OTHER", help=f"Where the others are: {FORMS}.")],
    results_text: ResultsText = DEFAULT_FOLDER,
    as_json: AsJson = False,
) -> None:
    """Take everything from other results, which are only read: records, telemetry, artifacts, triage."""
    from harness.store.database import ResultStore
    from harness.store.exchange.merge import merge

    source, target = parse_results(other), parse_results(results_text)
    # before a folder is made for it
    source.must_exist()
    with ResultStore.open(target) as store:
        merged = merge(store, source)
    _tell(
        "left out, for they are still running there, or their process is gone (a run there salvages them)",
        merged.running,
    )
    _tell("added without files: those that the records name are not there", merged.without_files)
    if as_json:
        print_json({"from": source.text, "into": target.text, **asdict(merged)})
        return
    typer.echo(
        f"{len(merged.added)} trials added, {len(merged.skipped)} were here already"
        + (f" ({len(merged.completed)} of them got their files)" if merged.completed else "")
        + f"; {format_bytes(merged.copied_bytes)} of files copied"
        + (f"; {merged.remarks} entries of triage and confirmations" if merged.remarks else "")
    )


def _tell(what: str, trial_ids: list[str]) -> None:
    if trial_ids:
        more = ", …" if len(trial_ids) > MAX_NAMED else ""
        talk(f"{len(trial_ids)} trials {what}: {', '.join(trial_ids[:MAX_NAMED])}{more}")
