"""The JSON Schema of a JSON export, made from the fields that are written and checked.

python -m harness.store.exchange.json_schema > docs/results.schema.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from harness.core.record import record_columns
from harness.core.units import INT64_MAX, INT64_MIN
from harness.store.exchange.benchmarks import BUILD, CASE, DEVICE, FIGURES
from harness.store.exchange.json_files import FORMAT, VERSION
from harness.store.exchange.records import CHOICES, MAX_ITEMS, MAX_TEXT, RUN_ID, SUITE_DIGEST
from harness.store.schema import ITEM_TYPES, RECORD_TYPES, SCHEMA_VERSION, TRIAL_ID

_TYPES: dict[type, dict[str, Any]] = {
    str: {"type": "string", "maxLength": MAX_TEXT},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX},
    float: {"type": "number"},
    dict: {"type": "object"},
    tuple: {"type": "array", "maxItems": MAX_ITEMS},
}
_PATTERNS = {"trial_id": TRIAL_ID, "run_id": RUN_ID, "suite_digest": SUITE_DIGEST}


def schema() -> dict[str, Any]:
    """Draft 2020-12."""
    columns = {field.name: _column(field.name, field.metadata) for field in record_columns()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of the iPhone load harness",
        "description": "`trials` is everything; `devices`, `builds`, `benchmarks` are made of it and not read again.",
        **_object(
            {
                "format": {"const": FORMAT},
                "version": {"const": VERSION},
                "schema_version": {"type": "integer", "minimum": 1, "maximum": SCHEMA_VERSION},
                "harness_version": {"type": "string"},
                "exported_at": {"type": "string", "format": "date-time"},
                "devices": {"type": "array", "items": _object({name: columns[name] for name in DEVICE})},
                "builds": {"type": "array", "items": _object({name: columns[name] for name in BUILD})},
                "benchmarks": {"type": "array", "items": _benchmark(columns)},
                "trials": {"type": "array", "items": {"$ref": "#/$defs/trial"}},
            }
        ),
        "$defs": {"trial": _object(columns)},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _benchmark(columns: dict[str, Any]) -> dict[str, Any]:
    number = {"type": ["number", "null"]}
    stats = {
        "unit": {"type": "string"},
        "rounds": {"type": "integer", "minimum": 1},
        **dict.fromkeys(("min", "max", "mean", "median", "stddev"), number),
    }
    data = {"type": "array", "items": {"type": "number"}, "minItems": 1}
    counts = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
    return _object(
        {
            **{name: columns[name] for name in CASE},
            "trials": {"type": "integer", "minimum": 1},
            "outcomes": counts,
            "stats": {
                "type": "object",
                "properties": dict.fromkeys(FIGURES, _object(stats)),
                "additionalProperties": False,
            },
            "data": {"type": "object", "properties": dict.fromkeys(FIGURES, data), "additionalProperties": False},
        }
    )


def _column(name: str, about: Any) -> dict[str, Any]:
    plain, optional = RECORD_TYPES[name]
    told = dict(_TYPES[plain])
    if name in CHOICES:
        told = {"enum": [str(choice) for choice in CHOICES[name]]}
    elif name in ITEM_TYPES:
        told["items"] = _object({key: _item(*types) for key, types in ITEM_TYPES[name].items()})
    elif name in _PATTERNS:
        told["pattern"] = "^" + _PATTERNS[name].pattern.replace("\\Z", "$")
    # an ended trial has an outcome, though the column may be null while it runs
    if optional and name != "outcome":
        told = _or_null(told)
    unit = f" Unit: {about['unit']}." if about["unit"] not in ("", "JSON") else ""
    return {"description": about["doc"] + unit, **told}


def _item(plain: type, optional: bool) -> dict[str, Any]:
    told = dict(_TYPES[plain]) if plain in _TYPES else {"enum": [str(choice) for choice in plain]}  # type: ignore[attr-defined]  # what is no plain type is an enumeration
    return _or_null(told) if optional else told


def _or_null(told: dict[str, Any]) -> dict[str, Any]:
    if "enum" in told:
        return {**told, "enum": [*told["enum"], None]}
    return {**told, "type": [told["type"], "null"]}


def schema_text() -> str:
    """The text of `docs/results.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
