"""The committed description of the results is what the code says."""

from __future__ import annotations

from pathlib import Path

from harness.store.document import document

README = Path(__file__).parents[3] / "results" / "README.md"


def test_the_committed_file_is_current() -> None:
    assert README.read_text(encoding="utf-8") == document(), (
        "run: python -m harness.store.document > results/README.md (and raise SCHEMA_VERSION if columns changed)"
    )
