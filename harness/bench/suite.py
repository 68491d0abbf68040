"""Suite files: what to load, how, and what is expected. TOML in, a checked value out.

Unknown keys are refused with their place in the file: a misspelt limit that is silently ignored is worse than none.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from harness.bench.suite_rules import EXPECTABLE, Expectation, Limit, Matcher
from harness.bench.suite_tables import (
    MAX_PROMPT_BYTES,
    Budget,
    FallbackStep,
    Load,
    Matrix,
    ModelEntry,
    Name,
    NeedsTable,
    Options,
    Order,
    Prompt,
    Published,
    Synth,
    Table,
)
from harness.core.errors import UsageError

__all__ = [
    "EXPECTABLE",
    "MAX_PROMPT_BYTES",
    "Budget",
    "Expectation",
    "FallbackStep",
    "Limit",
    "Load",
    "Matrix",
    "ModelEntry",
    "NeedsTable",
    "Options",
    "Order",
    "Published",
    "Suite",
    "SuiteError",
    "Synth",
    "load_suite",
]

_Setting = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
MAX_SUITE_BYTES = 1 << 20
MAX_KEY_PARTS = 32
"""Between dots, where a suite's has two; the parser needs memory by their square."""
# nothing in it is tried twice, so its time is the text's length
_KEY_PART = r"""(?:[0-9A-Za-z_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![0-9A-Za-z_-]){_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{{MAX_KEY_PARTS}}}")
MAX_PUBLISHED = 50


class SuiteError(UsageError):
    """A suite file that cannot be used; the text names the file, the place and the remedy."""


class Suite(Table):
    """A whole suite file."""

    name: Name
    version: Literal[1] = 1
    description: str = ""
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    matrix: Matrix = Matrix()
    loads: dict[Name, Load] = Field(default_factory=dict)
    prompts: dict[Name, Prompt] = Field(default_factory=dict)
    options: Options = Options()
    needs: NeedsTable = NeedsTable()
    budget: Budget = Budget()
    expect: tuple[Expectation, ...] = ()
    limit: tuple[Limit, ...] = ()
    fallback: tuple[FallbackStep, ...] = ()
    """`[[fallback]]`: what `harness fallback` tries after the suite's first case; none: a ladder made of the matrix."""
    published: Annotated[tuple[Published, ...], Field(max_length=MAX_PUBLISHED)] = ()
    """`[[published]]`: what others have reported of such a case; the report shows it beside the results."""
    virtual: dict[_Setting, Annotated[str, Field(min_length=1, max_length=1024)]] = Field(default_factory=dict)
    """`[virtual]`: settings of the virtual phone, as `fault = "unplug:seconds=2@load"`; none on a physical one."""
    _text: str | None = PrivateAttr(None)

    @property
    def text(self) -> str | None:
        """The file it was read from, word for word; None: it was made up."""
        return self._text

    @model_validator(mode="after")
    def _names(self) -> Suite:
        names = [model.name for model in self.models]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"model names must differ; given twice: {', '.join(sorted(twice))}")
        for axis, known in (("loads", self.loads), ("prompts", self.prompts)):
            unknown = [name for name in getattr(self.matrix, axis) if name not in known]
            if unknown:
                raise ValueError(f"[matrix] {axis} names {unknown[0]!r}; write [{axis}] with that name")
        for place, rules in (("expect", self.expect), ("limit", self.limit)):
            for number, rule in enumerate(rules):
                self._check_rule(f"{place}[{number}]", rule)
        for number, step in enumerate(self.fallback):
            self._check_named(f"fallback[{number}]", "model", step.model, names)
            self._check_named(f"fallback[{number}]", "load", step.load, list(self.loads))
        return self

    def _check_rule(self, place: str, rule: Matcher) -> None:
        """A rule for what the suite does not have would silently never hold."""
        axes = {
            "model": [model.name for model in self.models],
            "engine": self.matrix.engines,
            "backend": self.matrix.backends,
            "cache": self.matrix.caches,
            "variant": self.matrix.variants,
            "max_tokens": self.matrix.max_tokens or (self.options.max_tokens,),
            "load": self.matrix.loads,
            "prompt": self.matrix.prompts,
        }
        for key, values in axes.items():
            wanted = getattr(rule, key)
            if wanted is not None and wanted not in values:
                there = ", ".join(str(value) for value in values) or "none"
                raise ValueError(f"{place} matches no case: {key} {str(wanted)!r}, but the suite has {there}")

    def _check_named(self, place: str, key: str, wanted: str | None, known: list[str]) -> None:
        if wanted is not None and wanted not in known:
            raise ValueError(f"{place}: {key} {wanted!r}, but the suite has {', '.join(known) or 'none'}")

    @property
    def digest(self) -> str:
        """Twelve hex digits of everything that decides what is run and how; comments and layout do not count.

        Nor does the budget: what it left over is to be run with more of it. Nor the ladder, which no run climbs, nor
        what others have published.
        """
        decides = self.model_dump_json(exclude={"description", "budget", "fallback", "published"})
        return hashlib.sha256(decides.encode()).hexdigest()[:12]


def load_suite(path: Path) -> Suite:
    """Reads a suite file. Raises SuiteError naming the file, the key and what is wrong with it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SUITE_BYTES + 1)
        if len(raw) > MAX_SUITE_BYTES:
            raise SuiteError(f"{path}: more than {MAX_SUITE_BYTES} bytes; a suite is a small text file")
        text = raw.decode("utf-8")
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not TOML: {error}") from error
    return read_suite(text, path)


def read_suite(text: str, path: Path) -> Suite:
    """The suite that `text` is, of a file `path`, which is not opened. Raises SuiteError like `load_suite`."""
    if _LONG_KEY.search(text):
        raise SuiteError(f"{path}: not TOML of a suite: a key of more than {MAX_KEY_PARTS} parts")
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise SuiteError(f"{path}: not TOML: nested too deep") from error
    except ValueError as error:
        # TOML's errors, and Python's about a number of thousands of digits
        raise SuiteError(f"{path}: not TOML: {error}") from error
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        places = [_place(item["loc"], item["msg"]) for item in error.errors(include_url=False, include_input=False)]
        raise SuiteError(f"{path}: " + "; ".join(places)) from error
    models = tuple(_resolve(model, path.parent) for model in suite.models)
    suite = suite.model_copy(update={"models": models})
    suite._text = text
    return suite


def _place(location: tuple[int | str, ...], message: str) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{where or 'suite'}: {message.removeprefix('Value error, ')}"


def _resolve(model: ModelEntry, folder: Path) -> ModelEntry:
    if model.path is None or model.path.is_absolute():
        return model
    # absolute, so that the suite's digest is the same from whatever folder the command is given
    return model.model_copy(update={"path": folder.resolve() / model.path})
