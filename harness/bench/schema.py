"""The JSON Schema of suite files, for editors: made from the same models that check them."""

from __future__ import annotations

import json
from typing import Any

from harness.bench.suite import Suite

TITLE = "Suite of the iPhone load harness"


def suite_schema() -> dict[str, Any]:
    """As TOML writes a suite: sizes are text with a unit, `synth` a name or a table.

    What only the program can check (names that must be known, models with one source) is not in it.
    """
    schema = _as_toml(Suite.model_json_schema(mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": TITLE}


def _as_toml(node: Any) -> Any:
    """Without null, which TOML does not have, and without titles that only repeat the key."""
    if isinstance(node, list):
        return [_as_toml(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _as_toml(value)
        for key, value in node.items()
        if not (key == "default" and value is None) and not (key == "title" and isinstance(value, str))
    }
    alternatives = kept.get("anyOf")
    if isinstance(alternatives, list) and len(alternatives) == 1:
        del kept["anyOf"]
        kept = {**alternatives[0], **kept}
    return kept


def suite_schema_text() -> str:
    """What `harness plan --schema` prints and `docs/suite.schema.json` holds."""
    return json.dumps(suite_schema(), indent=2, ensure_ascii=False) + "\n"
