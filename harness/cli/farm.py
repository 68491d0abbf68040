"""`harness farm …`: a hub, its hosts, and what they are at; each verb's module is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

VERBS = {
    "hub": "farm_hub:hub",
    "join": "farm_join:join",
    "status": "farm_status:status",
    "drain": "farm_drain:drain",
    "cancel": "farm_cancel:cancel",
    "certs": "farm_certs:app",
}


class FarmVerbs(TyperGroup):
    """As the command's own verbs are: see `cli.main`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
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
    cls=FarmVerbs, help="Many phones, many hosts, one suite.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def farm() -> None:
    """Many phones, many hosts, one suite."""
