"""Reads a model file: the format by its content, the figures from its tables. Weights are not read.

The rules of the formats are in the modules beside this one; here is only which part is read as what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.core.job import Backend
from harness.core.model_file import litertlm, zip_directory
from harness.core.model_file.errors import ModelFileError
from harness.core.model_file.facts import ModelFile, ModelFormat, Section, Signature, SignatureKind
from harness.core.model_file.graph_facts import graph_facts
from harness.core.model_file.litertlm import SectionType, TypedSection
from harness.core.model_file.llm_metadata import BIN_MODEL_TYPES, LlmMetadata, parse_llm_metadata, read_llm_metadata
from harness.core.model_file.protobuf import ProtobufError
from harness.core.model_file.source import Source, Window
from harness.core.model_file.strangers import stranger
from harness.core.model_file.tflite import TfliteModel, is_tflite
from harness.core.model_file.tokenizer import HUGGINGFACE, SENTENCEPIECE, tokenizer_kind

LOOKED_AT_BYTES = 1024
MAIN_MODELS = frozenset({"TF_LITE_PREFILL_DECODE", "TF_LITE_PREFILL", "TF_LITE_DECODE", "TF_LITE_ARTISAN_TEXT_DECODER"})
"""The others, as an embedder or a vision encoder, add weights and signatures, but state no context."""
MODEL_PREFIX = "TF_LITE_"
METADATA = "METADATA"
TOKENIZER = "TOKENIZER_MODEL"

# Names of a .bin's metadata (google-ai-edge/mediapipe, tasks/cc/genai/inference/utils/llm_utils/metadata_utils.h).
BIN_PARAMETERS = "odml.infra.proto.LlmParameters"
BIN_MODEL_TYPE = "odml.infra.LlmModelType"
BIN_BACKEND = "backend"
BIN_VOCABULARY = "spm_vocab_model"


@dataclass(frozen=True)
class _Part:
    """A TFLite model in the file."""

    name: str
    model: TfliteModel
    main: bool


def read_model_file(source: Source) -> ModelFile:
    """What the file says of itself. Raises ModelFileError for what is no model, damaged or cut short."""
    window = Window.whole(source)
    begin = window.read(0, min(LOOKED_AT_BYTES, window.size_bytes))
    if begin.startswith(zip_directory.BEGIN):
        return _task(window)
    if begin.startswith(litertlm.BEGIN):
        return _litertlm(window)
    if is_tflite(window):
        return _flatbuffer(window)
    what, remedy = stranger(begin, window.size_bytes)
    raise ModelFileError(source.name, "", what, remedy)


def _task(window: Window) -> ModelFile:
    sections = zip_directory.read_zip(window)
    named = {section.name: section for section in sections}
    if MAIN_MODELS.isdisjoint(named):
        names = ", ".join(list(named)[:8]) or "nothing"
        raise ModelFileError(
            window.source.name,
            "",
            f"is a zip, but no bundle of a language model: it holds {names}",
            "give a .task with TF_LITE_PREFILL_DECODE in it, or unpack this file",
        )
    parts = _parts(window, (section for section in sections if section.name.startswith(MODEL_PREFIX)))
    metadata = LlmMetadata()
    if METADATA in named:
        metadata = read_llm_metadata(_window(window, named[METADATA]))
    tokenizer = tokenizer_kind(_window(window, named[TOKENIZER])) if TOKENIZER in named else None
    return _model_file(window, ModelFormat.TASK, sections, parts, metadata, tokenizer=tokenizer)


def _litertlm(window: Window) -> ModelFile:
    sections = litertlm.read_litertlm(window)
    parts = _parts(window, (one.section for one in sections if one.type == SectionType.TFLITE_MODEL))
    metadata = [one.section for one in sections if one.type == SectionType.LLM_METADATA]
    main = {part.name for part in parts if part.main}
    return _model_file(
        window,
        ModelFormat.LITERTLM,
        tuple(one.section for one in sections),
        parts,
        read_llm_metadata(_window(window, metadata[0])) if metadata else LlmMetadata(),
        tokenizer=_litertlm_tokenizer(sections),
        backends=_backends(word for one in sections if one.section.name in main for word in one.backends),
    )


def _litertlm_tokenizer(sections: tuple[TypedSection, ...]) -> str | None:
    kinds = {SectionType.SP_TOKENIZER: SENTENCEPIECE, SectionType.HF_TOKENIZER_ZLIB: HUGGINGFACE}
    return next((kinds[SectionType(one.type)] for one in sections if one.type in kinds), None)


def _flatbuffer(window: Window) -> ModelFile:
    """A `.tflite`, or a `.bin`: the same with a language model's metadata."""
    model = TfliteModel(window)
    if BIN_PARAMETERS not in model.metadata and BIN_MODEL_TYPE not in model.metadata:
        return _model_file(window, ModelFormat.TFLITE, (), [_Part("", model, main=True)], LlmMetadata())
    vocabulary = model.metadata_constant(BIN_VOCABULARY)
    tokenizer = None
    if vocabulary is not None:
        tokenizer = tokenizer_kind(window.part(BIN_VOCABULARY, vocabulary.offset, vocabulary.size_bytes))
    backend = (model.metadata_bytes(BIN_BACKEND) or b"").decode(errors="replace").strip("\0 ").lower()
    # not the buffer of that number: the number itself is the type (metadata_utils.cc)
    architecture = BIN_MODEL_TYPES.get(model.metadata.get(BIN_MODEL_TYPE, 0))
    metadata = LlmMetadata(_bin_context(model), architecture)
    return _model_file(
        window,
        ModelFormat.BIN,
        (),
        [_Part("", model, main=True)],
        metadata,
        tokenizer=tokenizer,
        backends=_backends([backend]),
    )


def _bin_context(model: TfliteModel) -> int | None:
    try:
        return parse_llm_metadata(model.metadata_bytes(BIN_PARAMETERS) or b"").context
    except ProtobufError as error:
        model.window.refuse(0, f"{BIN_PARAMETERS} is no metadata of a language model: {error.problem}")


def _window(window: Window, section: Section) -> Window:
    return window.part(section.name, section.offset, section.size_bytes)


def _parts(window: Window, sections: Iterable[Section]) -> list[_Part]:
    """The models among the sections; a single one is the main one, whatever its name. What else is none is left out."""
    chosen = list(sections)
    found = []
    for section in chosen:
        part = _window(window, section)
        main = section.name in MAIN_MODELS or len(chosen) == 1
        if main or is_tflite(part):
            found.append(_Part(section.name, TfliteModel(part), main))
    return found


def _backends(words: Iterable[str]) -> tuple[Backend, ...]:
    """Known ones among the words, each once; `gpu_artisan` is a way to use the GPU."""
    found = {backend: None for word in words for backend in Backend if word.split("_")[0] == backend.value}
    return tuple(found)


def _model_file(
    window: Window,
    form: ModelFormat,
    sections: tuple[Section, ...],
    parts: Sequence[_Part],
    metadata: LlmMetadata,
    *,
    tokenizer: str | None = None,
    backends: tuple[Backend, ...] = (),
) -> ModelFile:
    found = [(part, graph_facts(part.model, metadata.context if part.main else None)) for part in parts]
    types: Counter[str] = Counter()
    signatures: list[Signature] = []
    for part, facts in found:
        types.update(facts.weights_by_type)
        for one in facts.signatures:
            of_another = replace(one, name=f"{part.name}:{one.name}", kind=SignatureKind.OTHER)
            signatures.append(one if part.main else of_another)
    embeddings = [facts.embedding_bytes for _, facts in found if facts.embedding_bytes is not None]
    mains = [facts for part, facts in found if part.main]
    return ModelFile(
        format=form,
        size_bytes=window.size_bytes,
        sections=sections,
        architecture=metadata.architecture,
        weights_by_type=dict(types.most_common()) if parts else None,
        weight_bytes=types.total() if parts else None,
        embedding_bytes=sum(embeddings) if embeddings else None,
        signatures=tuple(signatures),
        context=max((one.context for one in mains if one.context is not None), default=metadata.context),
        kv_bytes_per_token=max((n for one in mains if (n := one.kv_bytes_per_token) is not None), default=None),
        mask_bytes_per_token=max((n for one in mains if (n := one.mask_bytes_per_token) is not None), default=None),
        backends=backends,
        tokenizer=tokenizer,
    )
