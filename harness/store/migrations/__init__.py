"""Ways from each released schema of the database to the next, as Alembic's revisions `1` to `5`.

The program runs them itself, inside a transaction of the caller's; there is no configuration file. What is here is
frozen: a revision says what a version was, whatever the record's fields become later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

CONNECTION = "connection"
PLACE = "place"
HEAD = "head"
BASE = "base"


def upgrade(connection: Connection, found: str, place: str, target: str = HEAD) -> None:
    """Brings a database of schema version `found` (or an empty one, `base`) to the newest, or to `target`.

    `place` is the id of the folder in which files of trials grow that are still running. Commits nothing.
    """
    from alembic import command  # here: 0.8 s that a database of this version does not need

    config = _config(connection, place)
    command.stamp(config, found)
    command.upgrade(config, target)


def _config(connection: Connection, place: str) -> Config:
    from alembic.config import Config

    config = Config()
    # a `%` in the path would be taken for an interpolation
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update({CONNECTION: connection, PLACE: place})
    return config
