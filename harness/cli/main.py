"""The command's entry: puts the verbs together and turns errors into exit codes."""

from __future__ import annotations

import sys
import traceback

import typer

from harness import __version__
from harness.cli import (
    compare,
    confirm,
    devices,
    doctor,
    exits,
    explain,
    fallback,
    fit,
    models,
    plan,
    report,
    results,
    run,
    runner,
    verdicts,
    virtual,
    watch,
)
from harness.cli.console import talk
from harness.core.errors import DeviceError, HarnessError, UsageError

app = typer.Typer(
    name="harness",
    help="Does this model load on that iPhone, and what does it cost?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("devices")(devices.devices)
app.command("doctor")(doctor.doctor)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("fallback")(fallback.fallback)
app.command("fit")(fit.fit_model)
app.command("compare")(compare.compare)
app.command("confirm")(confirm.confirm)
app.command("watch")(watch.watch)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.add_typer(results.app, name="results")
app.add_typer(runner.app, name="runner")
app.add_typer(models.app, name="models")
app.add_typer(verdicts.app, name="verdicts")
app.add_typer(virtual.app, name="virtual")


@app.callback(invoke_without_command=True)
def main(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Does this model load on that iPhone, and what does it cost?"""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def entry() -> None:
    """The console script `harness`."""
    try:
        app()
    except UsageError as error:
        code, text = exits.WRONG_USE, str(error)
    except DeviceError as error:
        code, text = exits.DEVICE, str(error)
    except HarnessError as error:
        code, text = exits.HARNESS, str(error)
    except Exception:  # noqa: BLE001  # a fault of ours must not look like a model's: exit 1 means that a model failed
        traceback.print_exc()
        code, text = exits.HARNESS, "this is a fault of the harness; the lines above tell where"
    talk(f"error: {text}")
    sys.exit(code)
