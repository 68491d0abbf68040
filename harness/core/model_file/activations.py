"""How much computed tensors of a graph take at the same time, at most: what an engine needs as its workspace.

The rules are those of XNNPACK's planner as far as they show in what loads cost (docs/preflight.md): a tensor lives from
the step that makes it to the last one that uses it; a step that changes element by element works in its input's place;
a product of two computed matrices packs the second one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.model_file.tflite import Graph, Op, Operator, TfliteModel

MOST_DEPTH = 4
"""Composites within composites."""

# BuiltinOperator of schema.fbs.
ELEMENTWISE = frozenset(
    {0, 14, 18, 19, 25, 28, 41, 42, 47, 55, 57, 59, 66, 75, 76, 92, 101, 108, 117, 150}
    # ADD LOGISTIC MUL RELU SOFTMAX TANH SUB DIV EXP MAXIMUM MINIMUM NEG SIN SQRT RSQRT SQUARE ABS COS HARD_SWISH GELU
)
SAME_PLACE = frozenset({Op.RESHAPE, Op.DYNAMIC_UPDATE_SLICE, 43, 70})
"""Beside these SQUEEZE and EXPAND_DIMS: their output is their first input, seen otherwise or written into."""


@dataclass(frozen=True)
class Work:
    """What one graph does."""

    operators: int
    """Those of composites included."""
    activation_bytes: int | None
    """None where a computed tensor's size is not fixed in the file."""


def graph_work(model: TfliteModel, number: int, depth: int = 0) -> Work:
    """Inputs and outputs of the graph are not counted: caches, masks and logits are buffers of their own."""
    graph = model.graphs[number]
    steps = list(graph.operators())
    inner = [_inner(model, step, depth) for step in steps]
    operators = len(steps) + sum(work.operators for work in inner if work is not None)
    return Work(operators, _Plan(graph, steps).peak_bytes(inner))


def _inner(model: TfliteModel, step: Operator, depth: int) -> Work | None:
    if step.decomposition is None or depth >= MOST_DEPTH or not 0 <= step.decomposition < len(model.graphs):
        return None
    return graph_work(model, step.decomposition, depth + 1)


class _Plan:
    """Which tensor lies where, and how long."""

    def __init__(self, graph: Graph, steps: Sequence[Operator]) -> None:
        self._graph = graph
        self._steps = steps
        self._place: dict[int, int] = {}
        """Tensor → the tensor in whose place it lies, where that is another one."""
        self._computed = {output for step in steps for output in step.outputs}
        last_use = {tensor: at for at, step in enumerate(steps) for tensor in step.inputs}
        for at, step in enumerate(steps):
            self._put(step, at, last_use)
        self._last: dict[int, int] = {}
        for at, step in enumerate(steps):
            for tensor in step.inputs:
                self._last[self._root(tensor)] = at

    def _root(self, tensor: int) -> int:
        root = tensor
        while root in self._place:
            root = self._place[root]
        while tensor != root:  # a long chain is walked once only
            above = self._place[tensor]
            self._place[tensor] = root
            tensor = above
        return root

    def _put(self, step: Operator, at: int, last_use: dict[int, int]) -> None:
        if len(step.outputs) != 1 or not step.inputs or step.outputs[0] in step.inputs:
            return
        output = step.outputs[0]
        if step.code in SAME_PLACE:
            self._lie(output, step.inputs[0])
        elif step.code in ELEMENTWISE:
            size = self._size(output)
            for tensor in step.inputs:
                free = tensor in self._computed and self._root(tensor) in self._computed and last_use[tensor] == at
                if free and self._size(tensor) == size:
                    self._lie(output, tensor)
                    return

    def _lie(self, output: int, tensor: int) -> None:
        """A file that is not trusted may have a tensor lie in its own place, by a detour."""
        if output not in self._place and self._root(tensor) != output:
            self._place[output] = self._root(tensor)

    def _size(self, tensor: int) -> int | None:
        found = self._graph.tensor(tensor)
        return None if found is None else found.size_bytes

    def peak_bytes(self, inner: Sequence[Work | None]) -> int | None:
        """None where a size is not known; `inner`: of each step, what the graph does that it stands for."""
        alive: dict[int, int] = {}
        ending: dict[int, list[int]] = {}
        now = peak = 0
        for at, (step, work) in enumerate(zip(self._steps, inner, strict=True)):
            for root in map(self._root, step.outputs):
                # what no step uses is an output of the graph
                if root in alive or root not in self._computed or root not in self._last:
                    continue
                size = self._size(root)
                if size is None:
                    return None
                alive[root] = size
                now += size
                ending.setdefault(max(at, self._last[root]), []).append(root)
            packed = self._packed(step)
            within = work.activation_bytes if work is not None else 0
            if packed is None or within is None:
                return None
            peak = max(peak, now + packed + within)
            now -= sum(alive.pop(root) for root in ending.pop(at, ()))
        return peak

    def _packed(self, step: Operator) -> int | None:
        """What a product packs of its second matrix; a constant one is packed when the model is loaded."""
        if step.code != Op.BATCH_MATMUL or len(step.inputs) < 2 or step.inputs[1] not in self._computed:
            return 0
        return self._size(step.inputs[1])
