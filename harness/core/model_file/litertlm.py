"""Where the sections of a `.litertlm` lie, and what its header says of each.

Layout: google-ai-edge/LiteRT-LM, schema/core/litertlm_header_schema.fbs and litertlm_read.cc: a magic word, three
numbers of a version, padding, where the header ends, and the header, a flatbuffer without an identifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from harness.core.model_file.facts import Section
from harness.core.model_file.flatbuffer import Flatbuffer, Table
from harness.core.model_file.source import U32, U64, Window

BEGIN = b"LITERTLM"
MAJOR_VERSION = 1
HEADER_END_AT = 24
HEADER_AT = 32
HEADER_LIMIT_BYTES = 4 * 1024 * 1024
MOST_SECTIONS = 256
MOST_ITEMS = 64
STRING_VALUE = 9
"""In the union VData."""
MODEL_TYPE = "model_type"
BACKEND_CONSTRAINT = "backend_constraint"


class SectionType(IntEnum):
    """AnySectionDataType, up to where its published versions agree; beyond it they number differently."""

    NONE = 0
    GENERIC_BINARY_DATA = 1
    DEPRECATED = 2
    TFLITE_MODEL = 3
    SP_TOKENIZER = 4
    LLM_METADATA = 5
    HF_TOKENIZER_ZLIB = 6
    TFLITE_WEIGHTS = 7


@dataclass(frozen=True)
class TypedSection:
    """A section with what the header says of it."""

    section: Section
    type: int
    """A SectionType, or a higher number."""
    backends: tuple[str, ...]
    """As written, `cpu` or `gpu_artisan`; empty: not stated."""


def read_litertlm(window: Window) -> tuple[TypedSection, ...]:
    """The sections in the header's order. Raises ModelFileError."""
    major, minor = window.number(U32, len(BEGIN)), window.number(U32, len(BEGIN) + 4)
    if major != MAJOR_VERSION:
        window.refuse(
            len(BEGIN), f"version {major}.{minor} of the format", f"this harness reads version {MAJOR_VERSION}"
        )
    header_end = window.number(U64, HEADER_END_AT)
    if not HEADER_AT < header_end <= HEADER_AT + HEADER_LIMIT_BYTES:
        window.refuse(HEADER_END_AT, f"the header would end at byte {header_end}: damaged")
    root = Flatbuffer(window.part("the header", HEADER_AT, header_end - HEADER_AT)).root()
    metadata = root.table(1)
    found: list[TypedSection] = []
    for table in metadata.tables(0) if metadata is not None else ():
        if len(found) >= MOST_SECTIONS:
            window.refuse(HEADER_AT, f"more than {MOST_SECTIONS} sections: damaged")
        found.append(_section(window, table))
    if not found:
        window.refuse(HEADER_AT, "the header names no section: damaged")
    return tuple(found)


def _section(window: Window, table: Table) -> TypedSection:
    begin, end, kind = table.u64(1), table.u64(2), table.byte(3)
    items = _items(table)
    name = SectionType(kind).name if kind in set(SectionType) else f"TYPE_{kind}"
    if items.get(MODEL_TYPE):
        # weights and tokenizers, too, may say which model they belong to
        name = items[MODEL_TYPE] if kind == SectionType.TFLITE_MODEL else f"{items[MODEL_TYPE]}:{name}"
    if begin > end:
        window.refuse(HEADER_AT, f"the section {name} would end at byte {end}, before it begins at {begin}: damaged")
    if end > window.size_bytes:
        window.refuse(HEADER_AT, f"the section {name} goes to byte {end}, the file ends at {window.size_bytes}")
    backends = tuple(word.strip().lower() for word in items.get(BACKEND_CONSTRAINT, "").split(",") if word.strip())
    return TypedSection(Section(name.upper(), begin, end - begin), kind, backends)


def _items(table: Table) -> dict[str, str]:
    """The texts among a section's remarks."""
    found = {}
    for number, item in enumerate(table.tables(0)):
        if number >= MOST_ITEMS:
            break
        value = item.table(2) if item.byte(1) == STRING_VALUE else None
        found[item.text(0) or ""] = (value.text(0) or "") if value is not None else ""
    return found
