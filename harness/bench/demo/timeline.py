"""What the app and the host would have seen of a demo trial: phases, steps of the host, readings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.bench.demo.endings import last_phase
from harness.bench.demo.world import DECODE_TOKENS, PROMPT_TOKENS
from harness.core.job import Backend
from harness.core.outcome import Outcome
from harness.core.telemetry import HostStep, Notice, Phase, Reading, Source
from harness.core.units import MIB

NS_PER_S = 1_000_000_000
SAMPLE_HZ = 50
CLOCK_OFFSET_NS = -42_000
"""App's clock minus the host's."""
_HOST_EVERY_NS = NS_PER_S // 2
_EMPTY_BYTES = 10 * MIB
_LIBRARY_BYTES = 34 * MIB
_WARNING_BYTES = 100 * MIB
"""Before the limit: there the phone warns, as a virtual one does."""
_BEFORE_S = {"begin": -6.2, "ready": -6.1, "app": -5.6, "model": -5.0, "note_reports": -3.4, "launch": -3.2}
_AT_LAUNCH_S = {"connect": -1.4, "hello": -0.5, "clock": -0.3}


@dataclass(frozen=True)
class Course:
    """A trial on the app's clock."""

    outcome: Outcome
    backend: str
    begin_ns: int
    figures: Mapping[str, float]
    limit_bytes: int

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Up to the one in which it ended, which has no end then."""
        found, at = [], self.begin_ns
        last = last_phase(self.outcome)
        for name, length_ns in self._lengths_ns():
            ended = name != last or self.outcome is Outcome.LOADED
            found.append(Phase(name, at, at + length_ns if ended else None))
            at += length_ns
            if not ended:
                break
        return tuple(found)

    def _lengths_ns(self) -> Iterator[tuple[str, int]]:
        load_ns = self.figures["load_ns"]
        prefill_ns = PROMPT_TOKENS / self.figures["prefill_tokens_per_s"] * NS_PER_S
        yield "verify", int(0.03 * load_ns)
        yield "load_library", int(0.04 * load_ns)
        yield "create_engine", int(0.96 * load_ns)
        yield "create_session", 4_000_000
        yield "prefill", int(min(prefill_ns, 0.9 * self.figures["ttft_ns"]))
        yield "first_token", int(max(self.figures["ttft_ns"] - prefill_ns, 0.1 * self.figures["ttft_ns"]))
        yield "decode", int(DECODE_TOKENS / self.figures["decode_tokens_per_s"] * NS_PER_S)
        yield "hold", NS_PER_S // 2
        yield "unload", int(0.25 * NS_PER_S)
        yield "settle", int(0.4 * NS_PER_S)

    @cached_property
    def end_ns(self) -> int:
        """Of the process, or of what was heard of it."""
        last = self.phases[-1]
        if last.end_ns is not None:
            return last.end_ns
        return last.begin_ns + int(0.62 * dict(self._lengths_ns())[last.name])

    @property
    def peak_bytes(self) -> int:
        """Of the footprint."""
        if self.outcome is Outcome.JETSAM:
            return self.limit_bytes - 2 * MIB
        share = 0.58 if self.outcome is Outcome.BAD_ALLOC else 1.0
        return int(self.figures["peak_footprint_bytes"] * share)

    def host_steps(self) -> tuple[HostStep, ...]:
        """What the harness did around it."""
        begins = [(name, self.begin_ns + int(s * NS_PER_S)) for name, s in {**_BEFORE_S, **_AT_LAUNCH_S}.items()]
        begins += [("run", self.begin_ns - NS_PER_S // 100), ("end", self.end_ns + NS_PER_S // 20)]
        begins += [("evidence", self.end_ns + NS_PER_S // 4), ("conclude", self.end_ns + NS_PER_S)]
        ends = [at for _, at in begins[1:]] + [self.end_ns + NS_PER_S * 11 // 10]
        steps = [
            HostStep(name, at - CLOCK_OFFSET_NS, end - CLOCK_OFFSET_NS)
            for (name, at), end in zip(begins, ends, strict=True)
        ]
        steps.append(HostStep("record", ends[-1] - CLOCK_OFFSET_NS))
        return tuple(step.on_app_clock(CLOCK_OFFSET_NS) for step in steps)

    def notices(self) -> tuple[Notice, ...]:
        """The phone warns of what comes near its limit, and of its warmth."""
        found = []
        level = self.limit_bytes - _WARNING_BYTES
        if self.peak_bytes > level:
            times, footprint = self._footprint
            warned = int(times[int(np.argmax(footprint > level))])
            found.append(Notice("memory_warning", warned))
        decode = next((phase for phase in self.phases if phase.name == "decode"), None)
        if decode is not None and (decode.duration_ns or 0) > 4 * NS_PER_S:
            found.append(Notice("thermal", decode.begin_ns + 2 * NS_PER_S, "fair"))
        return tuple(found)

    def readings(self, random: np.random.Generator) -> list[Reading]:
        """The app's, and the system monitor's beside them. The largest and the last are the record's figures."""
        times, footprint = self._footprint
        resident = footprint * self.resident_share
        gpu = self.backend == Backend.GPU
        fair_at = next((one.at_ns for one in self.notices() if one.kind == "thermal"), None)
        found = [
            Reading(
                Source.APP,
                int(at),
                seq=14 + number,
                footprint_bytes=int(used),
                resident_bytes=int(inside),
                virtual_bytes=int(used * 1.4) + 360 * MIB,
                available_bytes=self.limit_bytes - int(used),
                metal_bytes=max(0, int(0.82 * (used - _LIBRARY_BYTES))) if gpu else 0,
                faults=3_900 + int(inside) // 16_384,
                cpu_ns=int(0.2 * NS_PER_S) + int(0.85 * (at - self.begin_ns)),
                thermal=0 if fair_at is None or at < fair_at else 1,
            )
            for number, (at, used, inside) in enumerate(zip(times, footprint, resident, strict=True))
        ]
        first = self.begin_ns + int(random.integers(0, _HOST_EVERY_NS))
        for at in range(first, int(times[-1]), _HOST_EVERY_NS):
            place = min(int(np.searchsorted(times, at)), len(found) - 1)
            found.append(
                Reading(
                    Source.HOST,
                    at,
                    footprint_bytes=int(footprint[place] * 0.995),
                    resident_bytes=int(resident[place] * 0.99),
                )
            )
        return found

    @property
    def resident_share(self) -> float:
        """Resident size over footprint."""
        return self.figures["peak_resident_bytes"] / self.figures["peak_footprint_bytes"]

    @cached_property
    def _footprint(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times and footprints of the app's samples."""
        knots = list(self._knots())
        times = np.arange(self.begin_ns, self.end_ns, NS_PER_S // SAMPLE_HZ, dtype=np.int64)
        footprint = np.interp(times, [at for at, _ in knots], [size for _, size in knots])
        footprint[int(np.argmax(footprint))] = self.peak_bytes
        if self.outcome is Outcome.LOADED:
            footprint[-1] = self.figures["leftover_footprint_bytes"]
        return times, footprint

    def _knots(self) -> Iterator[tuple[int, float]]:
        """Where the footprint bends."""
        peak, held = self.peak_bytes, self.peak_bytes
        if self.outcome not in (Outcome.JETSAM, Outcome.BAD_ALLOC):
            held = int(0.93 * peak)
        yield self.begin_ns, _EMPTY_BYTES
        for phase in self.phases:
            begin, end = phase.begin_ns, self.end_ns if phase.end_ns is None else phase.end_ns
            if phase.name == "load_library":
                yield end, _LIBRARY_BYTES
            elif phase.name == "create_engine":
                # what is packed comes in a rush, with a plateau, and a part of it is given back
                for share, level in ((0.35, 0.5), (0.5, 0.54), (0.85, 1.0), (0.9, 1.0), (0.93, held / peak)):
                    yield begin + int(share * (end - begin)), max(level * peak, _LIBRARY_BYTES)
                yield end, held
            elif phase.name == "decode" or phase.name == "hold":
                yield end, min(peak, held * 1.012)
            elif phase.name == "unload" or phase.name == "settle":
                yield end, self.figures["leftover_footprint_bytes"]


def journal(course: Course, pid: int, readings: Sequence[Reading]) -> Iterator[Mapping[str, object]]:
    """What the app would have written down, in short: begin, phases, end."""
    seq = 1
    yield {"v": 1, "seq": seq, "t": course.begin_ns, "ev": "hello", "demo": True, "pid": pid}
    for phase in course.phases:
        seq += 1
        yield {"v": 1, "seq": seq, "t": phase.begin_ns, "ev": "phase", "name": phase.name, "end": phase.end_ns}
    samples = sum(reading.source is Source.APP for reading in readings)
    yield {"v": 1, "seq": seq + samples, "t": course.end_ns, "ev": "demo_end", "samples": samples}
