"""Ours and its peers on the same simulated nights: how often each alarms for nothing, what it finds, and how soon.

    python -m tests.benchmarks.verdicts [--series 1000] [--peer-series 40] [--jobs 2] [--no-peers]
                                        [--write docs/verdicts.md]

The numbers are fixed by seeds; docs/verdicts.md explains them. Exits with 1 when ours misses what must hold. Peers are
installed into the user's cache, once; one that cannot be installed gets a row that says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.analysis.change_points import FloatArray, change_points
from tests.benchmarks.verdicts.confirmation import confirmed_share
from tests.benchmarks.verdicts.noise import SCENARIOS, STEP_NIGHT, Scenario, quartiles, series
from tests.benchmarks.verdicts.ours import OWN_ROWS, PLAIN
from tests.benchmarks.verdicts.peers import ORACLE, PEERS, Answer, Peer, PeerMissing, ask, install, write_series
from tests.benchmarks.verdicts.scoring import Places, score
from tests.benchmarks.verdicts.table import (
    Confirmed,
    Row,
    confirmations_table,
    detectors_table,
    misses,
    write_between_markers,
)
from tests.benchmarks.verdicts.walk import NONE, seconds_per_thousand, walk

_COMPARISONS = 2000
"""Simulated re-runs of each kind."""
_TIMED_NIGHTS = 100
_TIMED_SERIES = 100
_CLEAN, _HEAVY, _ORACLE_SCENARIO = SCENARIOS[1], SCENARIOS[2], SCENARIOS[4]
_CHUNK = 25
"""Series that one process judges at a time."""


def first_night(scenario: Scenario) -> int:
    """The first night that is asked about: of a step it is the step's."""
    return STEP_NIGHT if scenario.step else 0


def own_places(row: int, scenario: Scenario, start: int, stop: int) -> Places:
    """What one of our own detectors says about some of a scenario's series."""
    detector = OWN_ROWS[row].of_scenario(scenario)
    return walk(detector, quartiles(scenario, stop)[start:stop], first_night(scenario))


def own_seconds(row: int) -> float:
    """Processor time for 1000 series of 100 nights."""
    return seconds_per_thousand(OWN_ROWS[row].of_scenario(_CLEAN), quartiles(_CLEAN, _TIMED_SERIES)[:, :_TIMED_NIGHTS])


def peer_answer(peer: Peer, source: Path, folder: Path) -> Answer | str:
    """The peer's answer, or why there is none."""
    try:
        return ask(peer, source, folder / f"{peer.detector}.npz")
    except PeerMissing as missing:
        return str(missing)


def confirmation(scenario: Scenario, shift: float) -> Confirmed:
    """Re-runs after alarms, of one kind."""
    return Confirmed(scenario, shift, confirmed_share(scenario, shift, _COMPARISONS), _COMPARISONS)


def installed(peers: tuple[Peer, ...]) -> dict[Peer, str]:
    """Why a peer cannot be had; empty where it can."""
    reasons = {}
    for peer in peers:
        reasons[peer] = ""
        try:
            install(peer)
        except PeerMissing as missing:
            reasons[peer] = str(missing)
    return reasons


def peer_row(peer: Peer, answer: Answer | str) -> Row:
    """The peer's line of the table."""
    if isinstance(answer, str):
        return Row(peer.title, {}, missing=answer)
    scores = {one.name: score(one, answer.places[one.name]) for one in SCENARIOS}
    return Row(peer.title, scores, answer.seconds)


def agreement(answer: Answer | str, given: FloatArray) -> str:
    """How often the foreign kernel finds the very same places on the last night, with the same numbers."""
    if isinstance(answer, str):
        return f"ruptures' kernel change points are missing: {answer}"
    options = replace(PLAIN, min_shift=0.0)
    told = [sorted(places[places != NONE].tolist()) for places in answer.places[_ORACLE_SCENARIO.name][:, -1]]
    ours = [[change.index for change in change_points(values, options=options)] for values in given]
    same = sum(mine == theirs for mine, theirs in zip(ours, told, strict=True))
    return (
        f"Kernel change points of ruptures 1.1.10, same γ and penalty, on the last night of {len(ours)} series with a "
        f"5 % step: the same places as ours in {same}."
    )


def run(pool: ProcessPoolExecutor, folder: Path, count: int, peer_count: int, *, peers: bool) -> tuple[str, list[str]]:
    """The text of the document, and what ours misses."""
    reasons = installed((*PEERS, ORACLE)) if peers else dict.fromkeys((*PEERS, ORACLE), "not asked for")
    source, oracle_source = folder / "series.npz", folder / "oracle.npz"
    write_series(source, {one.name: (series(one, min(count, peer_count)), first_night(one)) for one in SCENARIOS})
    last_nights = series(_ORACLE_SCENARIO, count)
    write_series(oracle_source, {_ORACLE_SCENARIO.name: (last_nights, last_nights.shape[1] - 1)})
    answers: dict[Peer, Future[Answer | str]] = {
        peer: pool.submit(peer_answer, peer, oracle_source if peer is ORACLE else source, folder)
        for peer, reason in reasons.items()
        if not reason
    }
    own = [own_futures(pool, row, count) for row in range(len(OWN_ROWS))]
    seconds = [pool.submit(own_seconds, row) for row in range(len(OWN_ROWS))]
    confirmed = [
        pool.submit(confirmation, scenario, shift) for scenario in (_CLEAN, _HEAVY) for shift in (0.0, 0.03, 0.05, 0.10)
    ]
    rows = [
        Row(detector.title, {one.name: score(one, joined(own[place][one.name])) for one in SCENARIOS}, timed.result())
        for place, (detector, timed) in enumerate(zip(OWN_ROWS, seconds, strict=True))
    ]
    rows += [peer_row(peer, answers[peer].result() if peer in answers else reasons[peer]) for peer in PEERS]
    oracle = agreement(answers[ORACLE].result() if ORACLE in answers else reasons[ORACLE], last_nights)
    three = rows[0].scores["10 % at σ 3 %"].found_in_three or 0.0
    parts = (
        detectors_table(rows),
        f"Of the 10 % steps at σ 3 % ours had told {100 * three:.1f} % by the third night.",
        oracle,
        confirmations_table([one.result() for one in confirmed]),
    )
    return "\n\n".join(parts), misses(rows[0])


def own_futures(pool: ProcessPoolExecutor, row: int, count: int) -> dict[str, list[Future[Places]]]:
    """By scenario, one future for each chunk of its series."""
    return {
        one.name: [
            pool.submit(own_places, row, one, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)
        ]
        for one in SCENARIOS
    }


def joined(chunks: list[Future[Places]]) -> Places:
    """All series of a scenario."""
    return np.concatenate([chunk.result() for chunk in chunks])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000, help="of each scenario, for our own detectors")
    parser.add_argument("--peer-series", type=int, default=40, help="the first so many of them, for the peers")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true", help="our own detectors only")
    parser.add_argument("--write", type=Path, help="document whose table is made anew")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.jobs) as pool:
        text, missed = run(pool, Path(folder), options.series, options.peer_series, peers=not options.no_peers)
    print(text)
    if options.write:
        write_between_markers(options.write, text)
    for miss in missed:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
