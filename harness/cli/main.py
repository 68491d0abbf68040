"""The command's entry: puts the verbs together and turns errors into exit codes."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from harness import __version__
from harness.cli import exits
from harness.cli.console import talk
from harness.core.errors import DeviceError, HarnessError, UsageError

VERBS = {
    "devices": "devices:app",
    "doctor": "doctor:doctor",
    "plan": "plan:plan",
    "run": "run:run",
    "fallback": "fallback:fallback",
    "fit": "fit:fit_model",
    "compare": "compare:compare",
    "confirm": "confirm:confirm",
    "watch": "watch:watch",
    "report": "report:report",
    "explain": "explain:explain",
    "results": "results:app",
    "runner": "runner:app",
    "models": "models:app",
    "verdicts": "verdicts:app",
    "virtual": "virtual:app",
    "farm": "farm:app",
}
"""Where each is: a module of this room, and its function or its application of further verbs."""


class Verbs(TyperGroup):
    """Imports a verb when it is asked for: what all of them need together takes most of a second to import."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # so that a misspelt one is told which was meant
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # they are there when they are got

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        found = getattr(import_module(f"harness.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_group(found)
        verb = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        verb.command(cmd_name)(found)
        return typer.main.get_command(verb)


app = typer.Typer(
    name="harness",
    cls=Verbs,
    help="Does this model load on that iPhone, and what does it cost?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
