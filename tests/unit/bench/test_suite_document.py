"""What is written about suite files is all there, and the published schema is that of the program."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from harness.bench.schema import suite_schema, suite_schema_text
from harness.bench.suite import Suite
from harness.bench.suite_tables import Table

DOCS = Path(__file__).parents[3] / "docs"


def tables(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The table and all that are in it."""
    yield model
    for field in model.model_fields.values():
        for part in re.findall(r"harness\.bench\.\w+\.(\w+)", str(field.annotation)):
            for table in heirs(Table):
                if table.__name__ == part:
                    yield from tables(table)


def heirs(table: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """All that are made of it, however far down."""
    for heir in table.__subclasses__():
        yield heir
        yield from heirs(heir)


TABLES = list(dict.fromkeys(tables(Suite)))


def test_all_tables_were_found() -> None:
    assert {"ModelEntry", "Synth", "Matrix", "Load", "Options", "NeedsTable", "Budget", "Expectation", "Limit"} <= {
        table.__name__ for table in TABLES
    }


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_is_in_the_reference(table: type[BaseModel]) -> None:
    told = (DOCS / "suites.md").read_text()
    missing = [key for key in table.model_fields if not re.search(rf"(?<![\w-]){key}(?![\w-])", told)]
    assert not missing


def test_the_committed_schema_is_current() -> None:
    # harness plan --schema > docs/suite.schema.json
    assert (DOCS / "suite.schema.json").read_text() == suite_schema_text()


def test_the_schema_speaks_toml() -> None:
    schema = suite_schema()

    def walk(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield node
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                yield from walk(item)

    # TOML has no null, and a misspelt key is refused by the editor as by the program
    assert not [node for node in walk(schema) if node.get("type") == "null"]
    for name, definition in schema["$defs"].items():
        if definition.get("type") == "object":
            assert definition["additionalProperties"] is False, name
    assert schema["$defs"]["Limit"]["properties"]["max_peak_footprint"]["type"] == "string"
    assert schema["$defs"]["Budget"]["properties"]["max_push"]["pattern"]
    assert {"type": "string"} in schema["$defs"]["ModelEntry"]["properties"]["synth"]["anyOf"]
    assert schema["required"] == ["name", "models"]


@pytest.mark.parametrize("path", sorted((DOCS.parent / "suites").rglob("*.toml")), ids=lambda path: path.name)
def test_the_keys_of_our_suites_are_in_the_schema(path: Path) -> None:
    schema = suite_schema()
    data = tomllib.loads(path.read_text())
    assert set(data) <= set(schema["properties"])
    assert set(data.get("options", {})) <= set(schema["$defs"]["Options"]["properties"])
    assert set(data.get("matrix", {})) <= set(schema["$defs"]["Matrix"]["properties"])
