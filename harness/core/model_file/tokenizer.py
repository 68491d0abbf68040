"""Which tokenizer a part of a bundle is, told by its first bytes."""

from __future__ import annotations

from harness.core.model_file.protobuf import ProtobufError, fields
from harness.core.model_file.source import Window

SENTENCEPIECE = "sentencepiece"
HUGGINGFACE = "huggingface"
PIECES = 0x0A
"""Key of the field `pieces` in sentencepiece_model.proto, which comes first."""
PIECE_TEXT = 1
LOOKED_AT_BYTES = 1024
JSON_BEGINS = (b"{", b"[")
ZLIB_BEGIN = b"\x78"
LENGTH_PREFIX_BYTES = 8
"""A compressed one in a .litertlm has its length before it."""


def tokenizer_kind(window: Window) -> str | None:
    """`sentencepiece`, `huggingface`, or None for what is neither."""
    begin = window.read(0, min(LOOKED_AT_BYTES, window.size_bytes))
    if begin.lstrip().startswith(JSON_BEGINS):
        return HUGGINGFACE
    if begin[LENGTH_PREFIX_BYTES : LENGTH_PREFIX_BYTES + 1] == ZLIB_BEGIN:
        return HUGGINGFACE
    # the first piece lies within one byte's length: its text, its score, perhaps its type
    if len(begin) < 2 or begin[0] != PIECES or begin[1] > 0x7F:
        return None
    try:
        first = list(fields(begin[2 : 2 + begin[1]]))
    except ProtobufError:
        return None
    return SENTENCEPIECE if first and first[0].number == PIECE_TEXT and isinstance(first[0].value, bytes) else None
