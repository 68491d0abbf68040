"""What a TFLite language model's graphs say of its memory: weights, signatures, context, caches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.core.model_file.activations import graph_work
from harness.core.model_file.facts import Signature, SignatureKind
from harness.core.model_file.tflite import Constant, Graph, Op, Operator, SignatureDefinition, Tensor, TfliteModel

MATRIX_INPUTS = {
    Op.FULLY_CONNECTED: (1,),
    Op.BATCH_MATMUL: (0, 1),
    Op.CONV_2D: (1,),
    Op.DEPTHWISE_CONV_2D: (1,),
    Op.TRANSPOSE_CONV: (1,),
}
"""Which inputs of a multiplication may be weights. Some converters write one as a convolution with a 1 × 1 kernel."""
SAME_CONTENT = frozenset({Op.DEQUANTIZE, Op.RESHAPE, Op.TRANSPOSE, Op.CAST})
"""What a converter may put between weights and their multiplication."""
LOOKUPS = frozenset({Op.EMBEDDING_LOOKUP, Op.GATHER, Op.GATHER_ND})

# Names of inputs as converters give them (LiteRT-LM: runtime/executor).
TOKENS = ("tokens", "token_ids")
EMBEDDINGS = "embeddings"
POSITIONS = "input_pos"
MASKS = ("mask", "attn_mask")
CACHES = ("kv_cache_k_", "kv_cache_v_", "k_cache_", "v_cache_")

MOST_DEPTH = 4
"""Composites within composites."""


@dataclass
class GraphUse:
    """What one signature's operators do with constants."""

    matrices: set[Constant] = field(default_factory=set)
    tables: set[Constant] = field(default_factory=set)
    """Looked up by token."""
    written_axes: dict[int, int] = field(default_factory=dict)
    """Input tensor that a step writes into → the one axis along which what is written is shorter."""


@dataclass(frozen=True)
class GraphFacts:
    """As the fields of ModelFile."""

    weights_by_type: dict[str, int]
    weight_bytes: int
    embedding_bytes: int | None
    signatures: tuple[Signature, ...]
    context: int | None
    kv_bytes_per_token: int | None
    mask_bytes_per_token: int | None


def graph_facts(model: TfliteModel, stated_context: int | None) -> GraphFacts:
    """Figures of a model. `stated_context`: of the bundle's metadata; believed where the shapes do not contradict."""
    uses = {definition.graph: _use(model, definition) for definition in model.signatures}
    types: Counter[str] = Counter()
    for constant, kind in _constants(model).items():
        types[kind] += constant.size_bytes
    tables: set[Constant] = set().union(*(use.tables for use in uses.values()))
    signatures = tuple(_signature(model, definition, uses[definition.graph]) for definition in model.signatures)
    context = _context(model, uses, stated_context)
    return GraphFacts(
        weights_by_type=dict(types),
        weight_bytes=types.total(),
        embedding_bytes=_bytes(tables) if tables else None,
        signatures=signatures,
        context=context if context is not None else stated_context,
        kv_bytes_per_token=None if context is None else _kv_bytes_per_token(model, context),
        mask_bytes_per_token=None if context is None else _mask_bytes_per_token(model, context),
    )


def _bytes(constants: Iterable[Constant]) -> int:
    return sum(constant.size_bytes for constant in constants)


def _constants(model: TfliteModel) -> dict[Constant, str]:
    """All constant tensors once, with the type of the first that uses each."""
    found: dict[Constant, str] = {}
    for graph in model.graphs:
        for tensor in graph.tensors:
            constant = model.constant(tensor)
            if constant is not None:
                found.setdefault(constant, tensor.type_name)
    return found


def _use(model: TfliteModel, definition: SignatureDefinition) -> GraphUse:
    use = GraphUse()
    tokens = {definition.inputs[name] for name in TOKENS if name in definition.inputs}
    _follow(model, definition.graph, tokens, use, depth=0)
    return use


def _follow(model: TfliteModel, number: int, tokens: set[int], use: GraphUse, depth: int) -> None:
    """Go through a graph's steps; `tokens`: tensors that hold token ids, it grows."""
    graph = model.graphs[number]
    passed_on: dict[int, Constant] = {}

    def constant(tensor: int) -> Constant | None:
        known = graph.tensor(tensor)
        return passed_on.get(tensor) or (None if known is None else model.constant(known))

    for step in graph.operators():
        if step.code in MATRIX_INPUTS:
            used = (constant(step.inputs[at]) for at in MATRIX_INPUTS[Op(step.code)] if at < len(step.inputs))
            use.matrices.update(one for one in used if one is not None)
        elif step.code in LOOKUPS:
            table = _table(step, tokens)
            found = None if table is None else constant(table)
            if found is not None:
                use.tables.add(found)
            continue  # rows of a table are no token ids
        elif step.code in SAME_CONTENT and step.inputs and step.outputs:
            source = constant(step.inputs[0])
            if source is not None:
                passed_on[step.outputs[0]] = source
        elif step.code == Op.DYNAMIC_UPDATE_SLICE:
            _note_written_axis(graph, step, use)
        elif step.decomposition is not None and depth < MOST_DEPTH and 0 <= step.decomposition < len(model.graphs):
            _follow(model, step.decomposition, set(), use, depth + 1)
        if not tokens.isdisjoint(step.inputs):
            tokens.update(step.outputs)


def _table(step: Operator, tokens: set[int]) -> int | None:
    """The table that a step looks tokens up in; a gather by anything else is no embedding."""
    if len(step.inputs) < 2:
        return None
    if step.code == Op.EMBEDDING_LOOKUP:
        return step.inputs[1]
    return step.inputs[0] if step.inputs[1] in tokens else None


def _note_written_axis(graph: Graph, step: Operator, use: GraphUse) -> None:
    whole, piece = (graph.tensor(number) for number in (*step.inputs[:2], -1, -1)[:2])
    if whole is None or piece is None:
        return
    shape, written = whole.shape, piece.shape
    if shape is None or written is None or len(shape) != len(written):
        return
    shorter = [axis for axis, (a, b) in enumerate(zip(shape, written, strict=True)) if b < a]
    if len(shorter) == 1:
        use.written_axes[step.inputs[0]] = shorter[0]


def _signature(model: TfliteModel, definition: SignatureDefinition, use: GraphUse) -> Signature:
    work = graph_work(model, definition.graph)
    return Signature(
        name=definition.name,
        kind=_kind(definition.name),
        tokens=_tokens_at_once(model, definition),
        weight_bytes=_bytes(use.matrices),
        largest_weight_bytes=max((matrix.size_bytes for matrix in use.matrices), default=0),
        operators=work.operators,
        activation_bytes=work.activation_bytes,
    )


def _kind(name: str) -> SignatureKind:
    for kind in (SignatureKind.PREFILL, SignatureKind.DECODE):
        if name == kind.value or name.startswith(f"{kind.value}_"):
            return kind
    return SignatureKind.OTHER


def _input(model: TfliteModel, definition: SignatureDefinition, name: str) -> Tensor | None:
    number = definition.inputs.get(name)
    return None if number is None else model.graphs[definition.graph].tensor(number)


def _tokens_at_once(model: TfliteModel, definition: SignatureDefinition) -> int | None:
    for name, axis in (*((name, -1) for name in TOKENS), (EMBEDDINGS, -2), (POSITIONS, -1)):
        tensor = _input(model, definition, name)
        shape = None if tensor is None else tensor.shape
        if shape is not None and len(shape) >= -axis:
            return shape[axis]
    return None


def _caches(model: TfliteModel, definition: SignatureDefinition) -> dict[int, Tensor]:
    graph = model.graphs[definition.graph]
    numbers = [number for name, number in definition.inputs.items() if name.startswith(CACHES)]
    return {number: tensor for number in numbers if (tensor := graph.tensor(number)) is not None}


def _context(model: TfliteModel, uses: dict[int, GraphUse], stated: int | None) -> int | None:
    """The caches' length in tokens, of the signature with the longest.

    A cache's axes have no names, so another witness is needed: the mask's last axis, the axis along which a step
    writes, or the metadata; whichever it is, all caches must have an axis of that length.
    """
    found = []
    for definition in model.signatures:
        caches = _caches(model, definition)
        shapes = [set(tensor.shape or ()) for tensor in caches.values()]
        if not all(shapes) or not shapes:
            continue
        common = set.intersection(*shapes)
        lengths = [mask.shape[-1] for mask in _masks(model, definition) if mask.shape is not None]
        axes = uses[definition.graph].written_axes
        lengths += [tensor.shape[axes[number]] for number, tensor in caches.items() if number in axes and tensor.shape]
        lengths += [] if stated is None else [stated]
        found += [length for length in lengths if length in common][:1]
    return max(found, default=None)


def _kv_bytes_per_token(model: TfliteModel, context: int) -> int | None:
    """Largest sum over a signature's caches, by token of context; None where a cache does not grow with it."""
    found = []
    for definition in model.signatures:
        caches = _caches(model, definition).values()
        sizes = [tensor.size_bytes for tensor in caches if tensor.shape is not None and context in tensor.shape]
        if caches and len(sizes) == len(caches) and None not in sizes:
            found.append(sum(size or 0 for size in sizes) // context)
    return max(found, default=None)


def _mask_bytes_per_token(model: TfliteModel, context: int) -> int | None:
    masks = [mask for definition in model.signatures for mask in _masks(model, definition)]
    sizes = [mask.size_bytes for mask in masks if mask.shape is not None and mask.shape[-1] == context]
    return max((size // context for size in sizes if size is not None), default=None)


def _masks(model: TfliteModel, definition: SignatureDefinition) -> list[Tensor]:
    return [mask for name in MASKS if (mask := _input(model, definition, name)) is not None]
