"""A line of some nights' values, as small as a word. Nights without a value are gaps. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 120.0, 24.0, 3.0
"""In units of the drawing; the style says how large it is on the page."""
_FLAT_SHARE = 0.05
"""Values that differ by less of their size fill only a part of the height: noise must not look like news."""


def sparkline(values: Sequence[float | None], lines: Sequence[int] = ()) -> Markup:
    """An `<svg>` that readers who do not see it are spared: the figures stand beside it.

    values: one a night, oldest first. lines: places at which something else began to be measured; the line is broken
    there, and a stroke drawn. Empty when there is no value.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    drawn = [f'<path class="line" d="{_stroke(_x(place - 0.5, len(values)))}"/>' for place in lines]
    points = [(_x(place, len(values)), value) for place, value in enumerate(values)]
    scale = _Scale(known)
    path = "".join(_run([(x, scale.y(y)) for x, y in run if y is not None]) for run in _runs(points, lines))
    drawn.append(f'<path d="{path}"/>')
    last = max(place for place, value in enumerate(values) if value is not None)
    x, y = points[last][0], scale.y(known[-1])
    drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>')
    head = f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" aria-hidden="true" focusable="false">'
    return Markup(f"{head}{''.join(drawn)}</svg>")  # noqa: S704  # numbers alone


class _Scale:
    """From values to heights."""

    def __init__(self, known: Sequence[float]) -> None:
        low, high = min(known), max(known)
        least = _FLAT_SHARE * max(abs(low), abs(high))
        middle, span = (low + high) / 2, max(high - low, least) or 1.0
        self._top, self._span = middle + span / 2, span

    def y(self, value: float) -> float:
        return MARGIN + (HEIGHT - 2 * MARGIN) * (self._top - value) / self._span


def _x(place: float, count: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * (place / max(count - 1, 1))


def _runs(points: Sequence[tuple[float, float | None]], lines: Sequence[int]) -> list[list[tuple[float, float | None]]]:
    """Stretches without a gap."""
    runs: list[list[tuple[float, float | None]]] = [[]]
    for place, point in enumerate(points):
        if point[1] is None:
            runs.append([])
            continue
        if place in lines:
            runs.append([])
        runs[-1].append(point)
    return [run for run in runs if run]


def _run(points: Sequence[tuple[float, float]]) -> str:
    """A single night is a dot: with round ends a line of no length is one."""
    first, *rest = [f"{x:.1f} {y:.1f}" for x, y in points]
    return f"M{first}" + (f"L{' '.join(rest)}" if rest else "h0")


def _stroke(x: float) -> str:
    return f"M{x:.1f} 0V{HEIGHT:g}"
