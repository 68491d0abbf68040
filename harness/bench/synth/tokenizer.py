"""A SentencePiece tokenizer and the LLM metadata of a synthetic model, generated without training and without files.

The pieces are the control pieces, the 256 byte pieces, the letters, and as many made-up words as the vocabulary
needs. The bytes depend on the vocabulary's size alone. Field numbers: sentencepiece_model.proto (google/sentencepiece)
and runtime/proto/llm_metadata.proto (google-ai-edge/LiteRT-LM).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.bench.synth import protobuf

PAD_ID = 0
EOS_ID = 1
BOS_ID = 2
UNK_ID = 3
CONTROL_PIECES = ("<pad>", "</s>", "<s>", "<unk>")

# sentencepiece_model.proto, ModelProto.SentencePiece.Type
TYPE_NORMAL = 1
TYPE_UNKNOWN = 2
TYPE_CONTROL = 3
TYPE_BYTE = 6
# sentencepiece_model.proto, TrainerSpec.ModelType
MODEL_TYPE_BPE = 2

WORD_START = "\u2581"
"""SentencePiece writes a space as this character."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BYTE_PIECES = 256
SMALLEST_VOCABULARY = len(CONTROL_PIECES) + BYTE_PIECES + 1 + len(LETTERS)
"""Control pieces, one piece a byte, the word start and the letters: without them a text may become unknown pieces."""


def tokenizer_model(vocabulary: int) -> bytes:
    """Return a SentencePiece BPE model with exactly ``vocabulary`` pieces and byte fallback.

    The normalizer is ``identity``: any other name would make the library expect 240 KB of Unicode tables.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        raise ValueError(f"a vocabulary has at least {SMALLEST_VOCABULARY} pieces, got {vocabulary}")
    out = bytearray()
    rank = 0
    for piece, piece_type in _pieces(vocabulary):
        score = 0.0
        if piece_type == TYPE_NORMAL:
            # BPE merges the pair with the highest score first: earlier pieces win.
            score = float(-rank)
            rank += 1
        message = protobuf.text(1, piece) + protobuf.float32(2, score)
        if piece_type != TYPE_NORMAL:
            message += protobuf.integer(3, piece_type)
        out += protobuf.blob(1, message)
    trainer = (
        protobuf.integer(3, MODEL_TYPE_BPE)
        + protobuf.integer(4, vocabulary)
        + protobuf.integer(35, 1)  # byte_fallback
        + protobuf.integer(40, UNK_ID)
        + protobuf.integer(41, BOS_ID)
        + protobuf.integer(42, EOS_ID)
        + protobuf.integer(43, PAD_ID)
    )
    normalizer = protobuf.text(1, "identity") + protobuf.blob(2, b"")
    return bytes(out) + protobuf.blob(2, trainer) + protobuf.blob(3, normalizer)


def llm_metadata(context: int) -> bytes:
    """Return the ``METADATA`` entry: start and stop token, the longest sequence, and "a generic model"."""
    return (
        protobuf.blob(1, _token_ids(BOS_ID))
        + protobuf.blob(2, _token_ids(EOS_ID))
        + protobuf.integer(5, context)
        + protobuf.blob(6, protobuf.blob(1, b""))
    )


def _token_ids(token: int) -> bytes:
    """Encode a TokenUnion of one id (a packed list in field 1 of TokenIds, field 2 of the union)."""
    return protobuf.blob(2, protobuf.blob(1, protobuf.varint(token)))


def _pieces(vocabulary: int) -> Iterator[tuple[str, int]]:
    """Yield ``vocabulary`` pieces with their types, in the order of their ids."""
    for token, piece in enumerate(CONTROL_PIECES):
        yield piece, TYPE_UNKNOWN if token == UNK_ID else TYPE_CONTROL
    for byte in range(BYTE_PIECES):
        yield f"<0x{byte:02X}>", TYPE_BYTE
    yield WORD_START, TYPE_NORMAL
    for letter in LETTERS:
        yield letter, TYPE_NORMAL
    for number in range(vocabulary - SMALLEST_VOCABULARY):
        yield _word(number), TYPE_NORMAL


def _word(number: int) -> str:
    """Return the made-up word of a number: unique, starting with a space, each number's prefix being another word.

    Words grow by one letter at a time ("a".."z", "aa".."zz", …), so that a BPE merge (word + letter) exists for each.
    """
    letters = ""
    number += 1
    while number:
        number, remainder = divmod(number - 1, len(LETTERS))
        letters = LETTERS[remainder] + letters
    return WORD_START + letters
