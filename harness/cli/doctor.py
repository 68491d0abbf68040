"""`harness doctor`: walks everything the harness asks of a phone, and says what works, how fast, and what to do."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shutil
import sys
import tempfile
import textwrap
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import __version__
from harness.cli import exits
from harness.cli.console import print_json, talk
from harness.core.errors import UsageError
from harness.core.phone import FORMS, AnyAttached, DeviceWord, PhoneFacts, PhoneKind, parse_device_word

if TYPE_CHECKING:
    from harness.device.doctor import Checkup, StepReport

JSON_VERSION = 1
WIDTH = 100
"""Columns at most; a narrower terminal has its own."""
NAME_WIDTH = 20
_MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "–"}
MARK_WIDTH = 8
_LIBRARIES = ("pymobiledevice3", "tidevice")


def doctor(
    device: Annotated[str, typer.Option("--device", metavar="WORD", help=f"One phone: {FORMS}.")],
    runner: Annotated[
        str, typer.Option("--runner", help="auto, python, swift, or the path of a signed .ipa.")
    ] = "auto",
    transport: Annotated[
        str, typer.Option("--transport", help="auto, or the client library that does what it can.")
    ] = "auto",
    lease_wait: Annotated[
        float, typer.Option("--lease-wait", min=0, metavar="SECONDS", help="Wait so long for a phone in use.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that was found, for machines.")] = False,
) -> None:
    """Examine a phone step by step: pairing, services, install, push, launch, telemetry, kill, reports.

    Takes about half a minute. Leaves the runner app installed and nothing else.
    """
    word = parse_device_word(device)
    if isinstance(word, AnyAttached) and word.every:
        raise UsageError("--device=all: the doctor examines one phone; name it, or say any")
    try:
        raise typer.Exit(asyncio.run(_examine(word, runner, transport, lease_wait, as_json)))
    except KeyboardInterrupt:
        talk("interrupted; the app on the phone has been ended, our files removed")
        raise typer.Exit(exits.INTERRUPTED) from None


async def _examine(word: DeviceWord, runner: str, transport: str, lease_wait_s: float, as_json: bool) -> int:
    from harness.device.combined import parse_transport
    from harness.device.doctor import STEPS, Checkup, Patient, walk
    from harness.runner.choice import parse_runner

    parse_transport(transport)
    # a wrong path is no finding about the phone
    parse_runner((runner,))
    checkup, name = Checkup(), None
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as scratch:
        patient = Patient(
            word, runner=runner, transport=transport, lease_wait_s=lease_wait_s, tell=talk, scratch=Path(scratch)
        )
        async with patient:
            async for report in walk(STEPS, patient, checkup, patient.still_there):
                lines = _lines(report)
                if as_json:
                    talk(lines[0])
                else:
                    typer.echo("\n".join(lines))
            name = patient.opened.name if patient.opened is not None else None
    if as_json:
        print_json(_for_machines(checkup, patient.facts, name))
    else:
        typer.echo("\n".join(_ending(checkup, patient.facts)))
    return 0 if checkup.healthy else exits.DEVICE


def _width() -> int:
    return min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH) if sys.stdout.isatty() else WIDTH


def _lines(report: StepReport) -> list[str]:
    """One step for a person: the finding beside its name, what to do about it below."""
    begin = f"{_MARKS[report.verdict.value]:<{MARK_WIDTH}}{report.name:<{NAME_WIDTH}}"
    lines = _wrapped(report.text, begin, " " * len(begin))
    if report.remedy:
        lines += _wrapped(report.remedy, " " * len(begin) + "→ ", " " * (len(begin) + 2))
    return lines


def _wrapped(text: str, begin: str, indent: str) -> list[str]:
    """Never wider than the terminal; text from a phone may be long, and try to move the cursor."""
    words = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return textwrap.wrap(
        words, max(_width(), MARK_WIDTH + NAME_WIDTH + 20), initial_indent=begin, subsequent_indent=indent
    )


def _ending(checkup: Checkup, facts: PhoneFacts | None) -> list[str]:
    counts = {mark: sum(report.verdict.value == mark for report in checkup.reports) for mark in _MARKS}
    lines = ["", f"{counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped"]
    if facts is None:
        return lines
    if facts.kind is PhoneKind.VIRTUAL:
        return lines + _wrapped("A virtual iPhone: this says nothing about a physical one.", "", "")
    file = f"doctor-{facts.product_type}-{facts.os_version}.json"
    text = (
        "This project has been written without a physical iPhone. Please run this again with --json >"
        f" {file}, compare it with the list at the end of docs/real-iphone.md, note there what this phone has shown"
        " (works, or how it differs), and send both to the project as an issue or a pull request. The file holds the"
        " phone's UDID; take it out if you like."
    )
    return [*lines, "", *_wrapped(text, "", "")]


def _for_machines(checkup: Checkup, facts: PhoneFacts | None, transport: str | None) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "healthy": checkup.healthy,
        "harness_version": __version__,
        "host": {
            "system": platform.platform(),
            "python": platform.python_version(),
            **{library: importlib.metadata.version(library) for library in _LIBRARIES},
        },
        "phone": None if facts is None else asdict(facts),
        "transport": transport,
        "steps": [
            {
                "name": report.name,
                "verdict": report.verdict.value,
                "text": report.text,
                "remedy": report.remedy,
                "took_s": round(report.took_s, 3),
                "figures": {figure.name: {"value": figure.value, "unit": figure.unit} for figure in report.figures},
            }
            for report in checkup.reports
        ],
    }
