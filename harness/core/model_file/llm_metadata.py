"""What a bundle's metadata states: context and architecture.

Two messages are in use under the same name: LlmMetadata (google-ai-edge/LiteRT-LM, runtime/proto/llm_metadata.proto)
and LlmParameters (google-ai-edge/mediapipe, tasks/cc/genai/inference/proto/llm_params.proto). The fields looked at
differ in their wire types, so neither is taken for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.model_file.protobuf import Field, ProtobufError, fields
from harness.core.model_file.source import Window

METADATA_LIMIT_BYTES = 4 * 1024 * 1024
"""Chat templates are the longest part, some kilobytes."""
CONTEXT_LIMIT_TOKENS = 1 << 26

# LlmMetadata
MAX_NUM_TOKENS = 5
LLM_MODEL_TYPE = 6
MODEL_TYPES = {
    2: "gemma3n", 3: "function_gemma", 4: "gemma3", 5: "qwen3", 7: "qwen2p5", 8: "gemma4", 9: "fast_vlm",
    11: "lfm2", 12: "minicpm5",
}  # fmt: skip  # llm_model_type.proto
"""1, the generic model, states nothing, and 13 is one model in one published version and another in the next."""
# LlmParameters
TRANSFORMER_PARAMETERS = 1
VOCAB_SIZE = 2
STOP_TOKENS = 5
MAX_SEQ_LENGTH = 2

BIN_MODEL_TYPES = {
    5: "falcon_rw_1b", 6: "gemma_2b", 8: "stablelm_4e1t_3b", 11: "phi_2", 12: "gemma_7b", 18: "gemma2_2b",
    27: "gemma3_1b", 28: "gemma3_4b", 29: "gemma3_12b", 30: "gemma3_27b",
}  # fmt: skip  # llm_params.proto, LlmModelType; 0 is unknown and 100 any TFLite model: both state nothing


@dataclass(frozen=True)
class LlmMetadata:
    """None: not stated."""

    context: int | None = None
    architecture: str | None = None


def read_llm_metadata(window: Window) -> LlmMetadata:
    """The metadata in a part of a file. Raises ModelFileError."""
    if window.size_bytes > METADATA_LIMIT_BYTES:
        window.refuse(0, f"{window.size_bytes} bytes where at most {METADATA_LIMIT_BYTES} make sense")
    try:
        return parse_llm_metadata(window.read(0, window.size_bytes))
    except ProtobufError as error:
        window.refuse(error.at, f"no metadata of a language model: {error.problem}")


def parse_llm_metadata(data: bytes) -> LlmMetadata:
    """Either message. Raises ProtobufError; positions in nested messages count from their own beginning."""
    found = list(fields(data))
    if any(_is_parameters(field) for field in found):
        messages = [field.value for field in found if field.number == TRANSFORMER_PARAMETERS]
        return LlmMetadata(context=_last_number(_nested(messages), MAX_SEQ_LENGTH))
    types = _nested([field.value for field in found if field.number == LLM_MODEL_TYPE])
    architecture = next((MODEL_TYPES[field.number] for field in types if field.number in MODEL_TYPES), None)
    return LlmMetadata(_last_number(found, MAX_NUM_TOKENS), architecture)


def _is_parameters(field: Field) -> bool:
    """Stop tokens as texts, or a vocabulary's size: in the other message these numbers have other types."""
    return (field.number == STOP_TOKENS and isinstance(field.value, bytes)) or (
        field.number == VOCAB_SIZE and isinstance(field.value, int)
    )


def _nested(messages: Sequence[int | bytes]) -> list[Field]:
    """The fields of a message's parts; protobuf merges what is given in several."""
    return [field for message in messages if isinstance(message, bytes) for field in fields(message)]


def _last_number(found: Sequence[Field], number: int) -> int | None:
    """The last wins, as protobuf has it; zero is its way to say nothing."""
    values = [field.value for field in found if field.number == number and isinstance(field.value, int)]
    return values[-1] if values and 0 < values[-1] <= CONTEXT_LIMIT_TOKENS else None
