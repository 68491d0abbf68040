"""Where results are: a folder with its own SQLite file, or a PostgreSQL database with a folder for the files beside it.

Light: nothing of the database is imported here, so that every face may read its flag with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from harness.core.errors import UsageError
from harness.store.errors import NoResults

DATABASE_NAME = "runs.db"
DEFAULT_FOLDER = "results"
POSTGRESQL = "postgresql"
FILES_KEY = "files"
"""Of the URL's query: the folder with telemetry, artifacts and report; without it `results/`."""
_SECRET = re.compile("password|secret")
"""What is in the name of an option of the URL that nobody else is to see."""
FORMS = "a folder, its runs.db, or postgresql://user@host/database[?files=FOLDER]"


@dataclass(frozen=True)
class ResultsAddress:
    """`folder` holds telemetry, artifacts and report; the records are in its SQLite file unless there is a `url`."""

    folder: Path
    url: str | None = None
    """Of a PostgreSQL database, without `files`; may hold a password, so it is not for showing."""

    @property
    def text(self) -> str:
        """For a person, without a password."""
        if self.url is None:
            return str(self.folder)
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")
        user = host[0].partition(":")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@{host[2]}" if user else host[2], query=""))

    @property
    def shareable(self) -> str:
        """As `--results` takes it, for a text that others may see: no password is in it."""
        if self.url is None:
            return str(self.folder)
        parts = urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        query = [(key, value) for key, value in parse_qsl(parts.query) if not _SECRET.search(key)]
        if self.folder != Path(DEFAULT_FOLDER):
            query.append((FILES_KEY, str(self.folder)))
        return urlunsplit(parts._replace(netloc=user.partition(":")[0] + at + host, query=urlencode(query)))

    @property
    def database(self) -> str:
        """What an error names."""
        return self.text if self.url is not None else str(self.folder / DATABASE_NAME)

    @property
    def has_records(self) -> bool:
        """Whether there is a database to read from; a server's is asked when it is opened."""
        return self.url is not None or (self.folder / DATABASE_NAME).is_file()

    def must_exist(self) -> None:
        """Raises NoResults where there is nothing to read: a reader makes no folder."""
        if not self.has_records:
            raise NoResults(
                f"{self.folder} holds no results (no {DATABASE_NAME}); run a suite first: harness run SUITE.toml"
            )


Results = Path | ResultsAddress
"""What functions take: a plain folder, or a parsed address."""


def address_of(results: Results) -> ResultsAddress:
    """The address of a folder, of the `runs.db` in one, or the address itself."""
    if isinstance(results, ResultsAddress):
        return results
    return ResultsAddress(results.parent if results.name == DATABASE_NAME else results)


def parse_results(text: str) -> ResultsAddress:
    """What `--results` says. Raises UsageError for a URL that is none of PostgreSQL, or a malformed one."""
    if "://" not in text:
        if not text:
            raise UsageError(f"--results is empty; it is {FORMS}")
        return address_of(Path(text))
    try:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        # the error's own words may hold the password
        raise UsageError(f"--results: not a URL; it is {FORMS}") from None
    if "@" in parts.path + parts.query + parts.fragment:
        # a part of the password would be taken for the host or the database, and shown
        raise UsageError("--results: write / ? # and @ of a password as %2F %3F %23 and %40")
    if parts.fragment:
        raise UsageError(f"--results: there is no # in it; it is {FORMS}")
    if parts.scheme != POSTGRESQL:
        raise UsageError(f"--results: {parts.scheme}:// is not known; it is {FORMS}")
    if not parts.path.strip("/"):
        raise UsageError(f"--results: the URL names no database; it is {FORMS}")
    folders = [value for key, value in query if key == FILES_KEY]
    if len(folders) > 1:
        raise UsageError(f"--results: {FILES_KEY} is there {len(folders)} times")
    rest = urlencode([(key, value) for key, value in query if key != FILES_KEY])
    return ResultsAddress(Path(folders[0] if folders else DEFAULT_FOLDER), urlunsplit(parts._replace(query=rest)))
