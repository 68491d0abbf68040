"""`harness verdicts`: what the nights say of each series, and what people say of that."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from datetime import date, time
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, ResultsText, night_of
from harness.core.errors import UsageError
from harness.core.judgement import MIN_TRIALS, NIGHT_STARTS_UTC, TriageState, VerdictKind
from harness.core.text import printable
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.series import CaseHistory, SeriesKey
    from harness.analysis.verdict import Verdict, VerdictOptions

MAX_LISTED = 5
"""Series that an error names."""

app = typer.Typer(help="What the nights say of each series.", invoke_without_command=True, no_args_is_help=False)

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="NIGHT", help="The verdicts of that night, as it would have given them."),
]
MinTrials = Annotated[
    int, typer.Option("--min-trials", min=1, help="A night's median of fewer trials is short, and no verdict.")
]
NightStarts = Annotated[
    str, typer.Option("--night-starts-utc", metavar="HH:MM", help="When one night ends and the next begins.")
]
SeriesText = Annotated[str, typer.Argument(metavar="SERIES", help="As listed, or a part that only one series has.")]
WEBHOOK_VARIABLE = "HARNESS_WEBHOOK"
DEFAULT_STARTS = NIGHT_STARTS_UTC.strftime("%H:%M")


@app.callback()
def verdicts(
    context: typer.Context,
    results_text: ResultsText = DEFAULT_FOLDER,
    as_of: AsOf = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="NIGHT", help="Only changes that began on that night or later.")
    ] = None,
    fail_on: Annotated[
        list[VerdictKind] | None,
        typer.Option("--fail-on", help="Exit 1 if there is such a verdict; regressed: one that is open. Repeatable."),
    ] = None,
    min_trials: MinTrials = MIN_TRIALS,
    night_starts: NightStarts = DEFAULT_STARTS,
    show_all: Annotated[bool, typer.Option("--all", help="Those that are the same, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the verdicts of each suite's newest night, worst first."""
    if context.invoked_subcommand is not None:
        _refuse_flags_before(context)
        return
    from harness.analysis.verdict import failing
    from harness.bench.nightly_verdicts import verdicts_of
    from harness.store.database import ResultStore

    night, first = night_of(as_of, "--as-of"), night_of(since, "--since")
    options = _options(min_trials, night_starts)
    with ResultStore.open_existing(parse_results(results_text)) as store:
        found = verdicts_of(store, as_of=night, options=options)
    meant = [one for one in found if first is None or (one.since is not None and one.since >= first)]
    told = [one for one in meant if show_all or one.kind is not VerdictKind.SAME]
    _tell(told, meant, as_json=as_json)
    if found and not meant:
        talk(f"no change since {first} in {len(found)} series")
    elif not found:
        talk("no series yet")
    bad = failing(meant, fail_on or ())
    if bad:
        talk(f"{len(bad)} of {len(meant)} series: {_counts(bad)}")
        raise typer.Exit(exits.MODEL_FAILED)


def _tell(told: Sequence[Verdict], meant: Sequence[Verdict], *, as_json: bool) -> None:
    from harness.report.verdict_words import HEADINGS, RIGHT, plain, verdict_rows

    if as_json:
        print_json([plain(one) for one in told])
    elif told:
        print_table(HEADINGS, verdict_rows(told), right=RIGHT, whole=("Series",))
    if meant:
        talk(f"{len(meant)} series: {_counts(meant)}")


def _counts(found: Sequence[Verdict]) -> str:
    counts = {kind: sum(one.kind is kind for one in found) for kind in VerdictKind}
    new = sum(one.new and one.kind is VerdictKind.REGRESSED for one in found)
    words = [f"{count} {kind}" for kind, count in counts.items() if count]
    return ", ".join(words) + (f"; {new} regressed tonight" if new else "")


@app.command("show")
def show(
    series: SeriesText,
    results_text: ResultsText = DEFAULT_FOLDER,
    as_of: AsOf = None,
    min_trials: MinTrials = MIN_TRIALS,
    night_starts: NightStarts = DEFAULT_STARTS,
    as_json: AsJson = False,
) -> None:
    """Tell the nights of a series, with their values and what changed, and its verdict."""
    from harness.bench.nightly_verdicts import histories_of, verdicts_of
    from harness.report.verdict_words import NIGHT_HEADINGS, night_cells, night_rows, plain
    from harness.store.database import ResultStore

    night, options = night_of(as_of, "--as-of"), _options(min_trials, night_starts)
    with ResultStore.open_existing(parse_results(results_text)) as store:
        all_histories = histories_of(store, as_of=night, night_starts_utc=options.night_starts_utc)
        found = verdicts_of(store, as_of=night, options=options)
    key = find_series(_keys(all_histories), series)
    history = next(one for one in all_histories if one.key == key.of_case)
    rows = night_rows(history, key, min_trials)
    judged = [one for one in found if one.series == key]
    if as_json:
        told = {"series": key.text, "nights": [asdict(row) for row in rows], "verdicts": [plain(v) for v in judged]}
        print_json(told)
        return
    typer.echo(printable(key.text))
    print_table(NIGHT_HEADINGS, [night_cells(row, key.metric) for row in rows], right=NIGHT_HEADINGS[1:2])
    for one in judged:
        segment = f" [{one.segment}]" if one.segment else ""
        typer.echo(printable(f"{one.night}{segment}: {one.kind}: {one.words}"))


@app.command("triage")
def triage(
    series: SeriesText,
    state: Annotated[TriageState, typer.Option("--state", help="What is to be done about the change.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in a few words; an issue's number.")],
    results_text: ResultsText = DEFAULT_FOLDER,
    first_bad: Annotated[
        str | None, typer.Option("--night", metavar="NIGHT", help="First night of the change; default: the one listed.")
    ] = None,
    author: Annotated[str | None, typer.Option("--author", help="Who says so; default: the login name.")] = None,
    min_trials: MinTrials = MIN_TRIALS,
    night_starts: NightStarts = DEFAULT_STARTS,
    as_json: AsJson = False,
) -> None:
    """Say of a change that it is known, fixed, or to be lived with; what was said before is kept."""
    from harness.bench.nightly_verdicts import histories_of, verdicts_of
    from harness.store.database import ResultStore
    from harness.store.triage import keep_triage

    night, results = night_of(first_bad, "--night"), parse_results(results_text)
    results.must_exist()
    with ResultStore.open(results) as store:
        options = _options(min_trials, night_starts)
        found = verdicts_of(store, options=options)
        key = find_series([one.series for one in found], series)
        if night is not None:
            _must_be_of(histories_of(store, night_starts_utc=options.night_starts_utc), key, night)
        since = night or _change_of(found, key)
        note = keep_triage(store, key.text, since, state, reason, author)
    if as_json:
        print_json(asdict(note) | {"first_bad": note.first_bad.isoformat(), "at": note.at.isoformat()})
    talk(f"{note.series}, change of {note.first_bad}: {note.state} ({note.reason}), says {note.author}")


@app.command("notify")
def notify(
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            envvar=WEBHOOK_VARIABLE,
            show_envvar=False,
            help=f"Where to; better in {WEBHOOK_VARIABLE}: arguments are seen by every user of the host.",
        ),
    ] = None,
    results_text: ResultsText = DEFAULT_FOLDER,
    as_of: AsOf = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the message (JSON); send and remember nothing.")
    ] = False,
    retry_for: Annotated[
        float,
        typer.Option("--retry-for", min=0, max=3600, metavar="SECONDS", help="While the webhook is busy or away."),
    ] = 120,
    min_trials: MinTrials = MIN_TRIALS,
    night_starts: NightStarts = DEFAULT_STARTS,
    as_json: AsJson = False,
) -> None:
    """Send the verdicts that changed since the last message to a webhook, Slack's or your own; nothing if none did."""
    from harness.bench.nightly_verdicts import verdicts_of
    from harness.report.exports.tools import demo_cases
    from harness.report.notify import notify as send
    from harness.report.notify import would_say
    from harness.store.database import ResultStore

    if webhook is None and not dry_run:
        raise UsageError(f"say where to: {WEBHOOK_VARIABLE}, or --webhook URL")
    night, options = night_of(as_of, "--as-of"), _options(min_trials, night_starts)
    with ResultStore.open_existing(parse_results(results_text)) as store:
        found, demo, folder = verdicts_of(store, as_of=night, options=options), demo_cases(store), store.folder
    if dry_run or webhook is None:
        told = would_say(folder, found, webhook, demo=demo)
        talk(f"{told.changed} changed; nothing was sent")
        if told.message is not None:
            typer.echo(told.message.decode())
        return
    told = send(folder, found, webhook, retry_for_s=retry_for, demo=demo)
    if as_json:
        print_json({"sent": told.sent, "changed": told.changed})
    else:
        typer.echo(f"sent: {told.changed} changed" if told.sent else "nothing new: nothing was sent")


def _must_be_of(all_histories: Sequence[CaseHistory], key: SeriesKey, night: date) -> None:
    """Raises UsageError for a night near which the series has none: what is said of it would never count."""
    from harness.analysis.decision import SAME_CHANGE_NIGHTS
    from harness.analysis.series import nights_between

    nights = [one for history in all_histories if history.key == key.of_case for one in history.suite_nights]
    if not any(abs(nights_between(one, night)) <= SAME_CHANGE_NIGHTS for one in nights):
        raise UsageError(
            f"--night: {key.text} has no night near {night}; `harness verdicts show {key.text}` lists them"
        )


def _change_of(found: Sequence[Verdict], key: SeriesKey) -> date:
    """The change for the worse that the list tells of the series."""
    for one in found:
        regressed = one.kind is VerdictKind.REGRESSED or one.triage is not None or one.confirmation is not None
        if one.series == key and one.since is not None and regressed:
            return one.since
    raise UsageError(f"{key.text} has no regression tonight; name the first night of the change with --night")


def find_series(keys: Sequence[SeriesKey], text: str) -> SeriesKey:
    """The series of that text, or the one whose text it is a part of; UsageError naming the nearest otherwise."""
    texts = {key.text: key for key in keys}
    found = [text] if text in texts else [one for one in texts if text and text in one]
    if len(found) == 1:
        return texts[found[0]]
    if not found:
        nearest = difflib.get_close_matches(text, texts, n=MAX_LISTED, cutoff=0.3) or list(texts)[:MAX_LISTED]
        raise UsageError(
            f"there is no series {text!r}; the nearest: {', '.join(nearest) or 'none, there are no trials'}"
        )
    more = ", …" if len(found) > MAX_LISTED else ""
    raise UsageError(f"{text!r} is a part of {len(found)} series: {', '.join(found[:MAX_LISTED])}{more}")


def _keys(all_histories: Sequence[CaseHistory]) -> list[SeriesKey]:
    from harness.analysis.metrics import METRICS
    from harness.analysis.series import OUTCOME

    names = [OUTCOME, *(metric.name for metric in METRICS)]
    return [one.key.series(name) for one in all_histories for name in names]


def _refuse_flags_before(context: typer.Context) -> None:
    """Flags of the list before a verb: the verb has its own, and would take its defaults, other results among them."""
    # by name: the class is the CLI library's own, and typer does not hand it out
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        verb = context.invoked_subcommand
        raise UsageError(f"{given[0]} is before {verb}; write it after: harness verdicts {verb} … {given[0]} …")


def _options(min_trials: int, night_starts: str) -> VerdictOptions:
    from harness.analysis.verdict import VerdictOptions

    try:
        starts = time.fromisoformat(night_starts)
    except ValueError:
        raise UsageError(f"--night-starts-utc={night_starts}: not a time of day, as in 12:00") from None
    if starts.tzinfo is not None:
        raise UsageError(f"--night-starts-utc={night_starts}: it is in UTC; give it without a zone, as in 12:00")
    return VerdictOptions(min_trials=min_trials, night_starts_utc=starts)
