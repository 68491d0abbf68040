"""Is the farm's placement near the best there can be, and the hub's board cheap? 40 hosts × 25 phones × 20,000 trials.

    python -m tests.benchmarks.bench_farm_plan [--hosts 40] [--phones 25] [--trials 20000] [--seed 1]

No phones and no network: the real board and placement, on a clock that is made up. Eight classes of phones, a run for
each; 30 models of 0.2 to 4 GB in each run, nothing on the phones at first; trials take a lognormal time (median 240 s,
σ 0.6), then the phone rests for 60 s. A model comes at 25 MB/s, one after another at each of a host's five USB roots.
Every phone announces itself each 5 s and at each change, and the board assigns each 0.25 s, as the hub does.

The bound: within a class no order can end before the longest trial after its own push, nor before

    T = (Σ durations + Σ rests − one rest for each phone + pushes) / phones

where `pushes` are the least that there can be. Within T a phone does no more than T's worth of a model's trials, so the
model has to be brought to (its work / T) phones, rounded up; a phone beyond these has none either, and counts with the
smallest model; and the phones of the class at one root wait for each other's first push, each counted as the smallest.
(Without any push it is said too.) The bound of the whole is that of the class that has the highest.

Exits 1 when the makespan is more than 1.05 of the bound, the board takes more than a core, or memory is over 1 GiB.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import ParamSpec, TypeVar

from harness.core.outcome import Family
from harness.farm.board.board import Board
from harness.farm.board.forecast import ends_in_s
from harness.farm.board.words import BoardRun, BoardTrial, Taken, Target
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, PhoneState

CLASSES = 8
MODELS = 30
ROOTS = 5
MEDIAN_S, SIGMA = 240.0, 0.6
REST_S = 60.0
PUSH_BYTES_PER_S = 25e6
ANNOUNCE_S = 5.0
TICK_S = 0.25
SELDOM_S = 600.0
"""Where what announcing costs is not measured."""
MAKESPAN_LIMIT, CORES_LIMIT, RSS_LIMIT_BYTES = 1.05, 1.0, 1 << 30
ATTEMPTS = 3


_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Model:
    name: str
    size_bytes: int

    @property
    def push_s(self) -> float:
        return self.size_bytes / PUSH_BYTES_PER_S


@dataclass
class Phone:
    said: Announcement
    root: tuple[str, str]
    models: set[str] = field(default_factory=set)
    rests_until_s: float = 0.0
    dead_until_s: float = 0.0
    serial: int = 0
    """Rises when the process is lost: what was under way does not end."""


@dataclass(frozen=True)
class Troubles:
    lost_share: float = 0.0
    """Of the phones; each is lost once at a random time, and is back after five minutes."""
    unknown_share: float = 0.0
    misjudged: float = 0.0
    """By so much, at most, the others' durations are wrong."""


def made_phones(hosts: int, phones: int, dice: random.Random) -> list[Phone]:
    # classes of different sizes, 90 to 160 of a thousand
    shares = [160, 150, 140, 130, 120, 110, 100, 90]
    total = hosts * phones
    kinds = [kind for kind, share in enumerate(shares) for _ in range(round(share * total / 1000))]
    kinds = (kinds + [0] * total)[:total]
    dice.shuffle(kinds)
    found = []
    for number, kind in enumerate(kinds):
        host, place = divmod(number, phones)
        name = f"{number:08X}-{number:016X}"
        said = Announcement(
            phone=name,
            udid=name,
            kind="physical",
            product_type=f"iPhone17,{kind + 1}",
            os_version="18.5",
            os_build="22F76",
            name="iPhone",
            word=name,
            host=f"host{host}",
            worker=f"tls://10.0.0.{host}:{40000 + place}",
            pid=1000 + place,
            harness_version="1",
            state=PhoneState.FREE,
            usb_root=str(place % ROOTS),
        )
        found.append(Phone(said, (said.host, str(place % ROOTS))))
    return found


class Night:
    """Plays a night on the real board."""

    def __init__(self, phones: list[Phone], models: list[Model], seed: int, troubles: Troubles) -> None:
        self.phones = {phone.said.phone: phone for phone in phones}
        self.models = {model.name: model for model in models}
        self.board = Board()
        self.troubles = troubles
        self.dice = random.Random(seed + 1)
        self.really_s: dict[tuple[str, str, int], float] = {}
        self.model_of: dict[tuple[str, str, int], str] = {}
        self.roots: dict[tuple[str, str], float] = {}
        self.pushed_bytes = 0
        self.pushes = 0
        self.announced = 0
        self.assigned = 0
        self.assign_cpu_s = 0.0
        self.board_cpu_s = 0.0
        self.ended_s: dict[str, float] = {}
        self.waits_s: dict[JobId, float] = {}
        self.begun_s: dict[str, list[float]] = {}
        self.events: list[tuple[float, int, str, str, object]] = []
        self.order = count()
        self.lost = 0
        self.bare_s: dict[str, float] = {}

    def add_run(self, run_id: str, kind: int, trials: int, now_s: float = 0.0, priority: int = 0) -> None:
        dice = random.Random(f"{run_id} {self.dice.random()}")
        names = sorted(self.models)
        planned = []
        for number in range(1, trials + 1):
            model = names[number % len(names)]
            case, ordinal = f"{model}/case{number % 90}", number
            really_s = dice.lognormvariate(0.0, SIGMA) * MEDIAN_S
            self.really_s[run_id, case, ordinal] = really_s
            self.model_of[run_id, case, ordinal] = model
            told_s: float | None = really_s * (1 + dice.uniform(-1, 1) * self.troubles.misjudged)
            if dice.random() < self.troubles.unknown_share:
                told_s = None
            planned.append(BoardTrial(case, ordinal, number, told_s, model, self.models[model].push_s, REST_S))
        run = BoardRun(run_id, Target(f"class:iPhone17,{kind + 1}"), priority, now_s, ATTEMPTS)
        began = time.process_time()
        self.board.add_run(run, planned, now_s)
        self.board_cpu_s += time.process_time() - began

    def play(
        self, later: dict[float, tuple[str, int, int, int]] | None = None, announce_s: float = ANNOUNCE_S
    ) -> float:
        """Until all runs are over; the moment when the last trial ended."""
        at = self._at
        for name in self.phones:
            at(self.dice.uniform(0, 5.0), "announce", name, None)
        share = self.troubles.lost_share
        for name in self.dice.sample(sorted(self.phones), round(share * len(self.phones))):
            at(self.dice.uniform(60, 5000), "die", name, None)
        for moment_s in later or {}:
            at(moment_s, "submit", "", None)
        at(0.0, "tick", "", None)
        waiting_runs = len(later or {})
        last_s = 0.0
        while self.events:
            now_s, _, what, name, told = heapq.heappop(self.events)
            if what == "announce":
                self._announce(name, now_s)
                at(now_s + announce_s, "announce", name, None)
            elif what == "tick":
                self._assign(now_s)
                over = not waiting_runs and all(self.board.is_over(run) for run in self.board.runs)
                if over:
                    return last_s
                at(now_s + TICK_S, "tick", "", None)
            elif what == "end":
                assert isinstance(told, tuple)
                last_s = max(last_s, self._end(name, told, now_s))
            elif what == "die":
                self.phones[name].serial += 1
                self.phones[name].dead_until_s = now_s + 300
                self.lost += 1
                self._board(self.board.lose, name, "its process is gone", now_s)
                at(now_s + 300, "announce once", name, None)
            elif what == "announce once":
                self._announce(name, now_s)
            else:
                run_id, kind, trials, priority = (later or {})[now_s]
                self.add_run(run_id, kind, trials, now_s, priority)
                waiting_runs -= 1
        raise AssertionError("a night does not end by itself")

    def _at(self, moment_s: float, what: str, name: str, told: object) -> None:
        heapq.heappush(self.events, (moment_s, next(self.order), what, name, told))

    def _board(self, call: Callable[_Asked, _Answer], *args: _Asked.args, **more: _Asked.kwargs) -> _Answer:
        began = time.process_time()
        answer = call(*args, **more)
        self.board_cpu_s += time.process_time() - began
        return answer

    def _announce(self, name: str, now_s: float) -> None:
        phone = self.phones[name]
        if now_s < phone.dead_until_s:
            return
        self.announced += 1
        rest_s = max(0.0, phone.rests_until_s - now_s)
        if phone.said.ready_in_s != rest_s:
            phone.said = Announcement.model_construct(**{**dict(phone.said), "ready_in_s": rest_s})
        self._board(self.board.announce, phone.said, now_s)

    def _assign(self, now_s: float) -> None:
        began = time.process_time()
        given = self.board.assign(now_s)
        spent = time.process_time() - began
        self.board_cpu_s += spent
        if given:
            self.assign_cpu_s += spent
        self.board.take_changes()
        self.board.take_events()
        for one in given:
            self.assigned += 1
            phone = self.phones[one.phone]
            key = (one.job.run_id, one.job.case, one.job.ordinal)
            model = self.models[self.model_of[key]]
            begins_s = now_s
            if model.name not in phone.models:
                begins_s = self.roots[phone.root] = max(now_s, self.roots.get(phone.root, 0.0)) + model.push_s
                phone.models.add(model.name)
                self.pushed_bytes += model.size_bytes
                self.pushes += 1
            self.begun_s.setdefault(one.job.run_id, []).append(now_s)
            busy = {"state": PhoneState.BUSY, "job": one.job, "ready_in_s": 0.0}
            phone.said = Announcement.model_construct(**{**dict(phone.said), **busy})
            self._at(begins_s + self.really_s[key], "end", one.phone, (one.job, phone.serial))

    def _end(self, name: str, told: tuple[object, ...], now_s: float) -> float:
        job, serial = told
        assert isinstance(job, JobId)
        phone = self.phones[name]
        free = {"state": PhoneState.FREE, "job": None}
        phone.said = Announcement.model_construct(**{**dict(phone.said), **free})
        if serial != phone.serial:
            return 0.0
        taken = self._board(self.board.judge, job, "loaded", Family.MEASURED, "loaded", False)
        self._board(self.board.took, job, taken, name, "t", "loaded", Family.MEASURED, "", now_s)
        report = JobReport.model_construct(job=job, end=JobEnd.DELIVERED, reason="", trial_id=None)
        self._board(self.board.report, name, report, now_s)
        phone.rests_until_s = now_s + REST_S
        if taken is Taken.RESULT:
            self.ended_s[job.run_id] = now_s
        self._announce(name, now_s)
        return now_s

    def bound_s(self, run_id: str) -> float:
        """What no placement can be quicker than, for a run whose phones do nothing else."""
        target = self.board.runs[run_id].target
        phones = [phone for phone in self.phones.values() if target.means(phone.said)]
        durations = {key: value for key, value in self.really_s.items() if key[0] == run_id}
        takes_s: dict[str, float] = {}
        for key, value in durations.items():
            takes_s[self.model_of[key]] = takes_s.get(self.model_of[key], 0.0) + value + REST_S
        smallest_s = min(self.models[name].push_s for name in takes_s)
        at_root = Counter(phone.root for phone in phones)
        waits_s = sum(smallest_s * number * (number - 1) / 2 for number in at_root.values())
        work_s = sum(takes_s.values()) - REST_S * len(phones) + waits_s

        def least_s(end_s: float) -> float:
            holders = {name: math.ceil(of_s / (end_s + REST_S)) for name, of_s in takes_s.items()}
            pushes_s = sum(number * self.models[name].push_s for name, number in holders.items())
            pushes_s += max(0, len(phones) - sum(holders.values())) * smallest_s
            return (work_s + pushes_s) / len(phones)

        low_s, high_s = work_s / len(phones), least_s(work_s / len(phones))
        while high_s - low_s > 0.1:
            middle_s = (low_s + high_s) / 2
            # the later the end, the fewer pushes there have to be
            low_s, high_s = (low_s, middle_s) if middle_s >= least_s(middle_s) else (middle_s, high_s)
        longest_s = max(value + self.models[self.model_of[key]].push_s for key, value in durations.items())
        self.bare_s[run_id] = max(longest_s, (work_s - waits_s) / len(phones))
        return max(longest_s, low_s)


def night(arguments: argparse.Namespace, troubles: Troubles) -> Night:
    """With a run for each class."""
    dice = random.Random(arguments.seed)
    models = [Model(f"{number:064x}", round(dice.uniform(0.2e9, 4e9))) for number in range(MODELS)]
    made = Night(made_phones(arguments.hosts, arguments.phones, dice), models, arguments.seed, troubles)
    for kind in range(CLASSES):
        made.add_run(f"run-{kind}", kind, arguments.trials // CLASSES)
    return made


def forecast(arguments: argparse.Namespace) -> None:
    """Prints what the forecast says of the same night at its begin, and what that takes."""
    made = night(arguments, Troubles())
    for phone in made.phones.values():
        made.board.announce(phone.said, 0.0)
    began = time.process_time()
    ends_s = [end_s for end_s in ends_in_s(made.board, 0.0).values() if end_s is not None]
    print(f"  forecast of it {max(ends_s):.0f} s, in {time.process_time() - began:.2f} s of CPU")


def wire_cost_s() -> float:
    """CPU seconds that reading and checking one announcement takes."""
    plain = made_phones(1, 25, random.Random(1))[0].said.plain()
    began = time.process_time()
    for _ in range(2000):
        Announcement.read(plain)
    return (time.process_time() - began) / 2000


def tell(made: Night, makespan_s: float) -> float:
    """Prints how it went; the ratio to the bound."""
    bounds = {run: made.bound_s(run) for run in made.board.runs}
    bound_s = max(bounds.values())
    worst = max(bounds, key=lambda run: made.ended_s[run] / bounds[run])
    all_bytes = sum(model.size_bytes for model in made.models.values()) * len(made.phones)
    print(
        f"  makespan {makespan_s:.0f} s, bound {bound_s:.0f} s: {makespan_s / bound_s:.3f} (against a bound without "
        f"pushes {makespan_s / max(made.bare_s.values()):.3f}); of the class that did worst against its own bound "
        f"{made.ended_s[worst]:.0f} of {bounds[worst]:.0f} s: {made.ended_s[worst] / bounds[worst]:.3f}"
    )
    print(
        f"  pushed {made.pushed_bytes / 1e12:.2f} TB in {made.pushes} pushes; each model to each phone would be "
        f"{all_bytes / 1e12:.2f} TB: {made.pushed_bytes / all_bytes:.1%}",
        flush=True,
    )
    return makespan_s / bound_s


def urgent_wait(arguments: argparse.Namespace) -> None:
    """A second suite of higher priority comes in the middle of the night: a trial for each phone of its class."""
    made = night(arguments, Troubles())
    size = sum(phone.said.product_type == "iPhone17,8" for phone in made.phones.values())
    came_s = 2000.0
    made.play({came_s: ("urgent", 7, size, 50)}, announce_s=SELDOM_S)
    longest_s = max(value + made.models[made.model_of[key]].push_s for key, value in made.really_s.items())
    waits_s = [begun_s - came_s for begun_s in made.begun_s["urgent"]]
    print(
        f"urgent suite of {size} trials on {size} phones: first begins after {min(waits_s):.1f} s, last after "
        f"{max(waits_s):.0f} s; the longest trial with its push and rest is {longest_s + REST_S:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--phones", type=int, default=25)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    made = night(arguments, Troubles())
    print(
        f"{arguments.hosts} hosts × {arguments.phones} phones, {arguments.trials} trials, {CLASSES} classes", flush=True
    )
    began_s = time.process_time()
    makespan_s = made.play()
    whole_s = time.process_time() - began_s
    ratio = tell(made, makespan_s)
    forecast(arguments)
    rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wire_s = wire_cost_s() * made.announced
    cores = (made.board_cpu_s + wire_s) / makespan_s
    print(
        f"  board {made.board_cpu_s:.1f} s of CPU, checking {made.announced} announcements {wire_s:.1f} s, in "
        f"{makespan_s:.0f} s: {cores:.4f} cores; {made.assign_cpu_s / made.assigned * 1e6:.0f} µs an assignment; peak "
        f"memory {rss_bytes / 2**20:.0f} MiB; the simulation took {whole_s:.0f} s",
        flush=True,
    )
    urgent_wait(arguments)
    for words, troubles in (
        ("1 % of the phones lost", Troubles(lost_share=0.01)),
        ("30 % of the durations unknown, the others wrong by up to 30 %", Troubles(unknown_share=0.3, misjudged=0.3)),
    ):
        print(f"{words}:", flush=True)
        made = night(arguments, troubles)
        tell(made, made.play(announce_s=SELDOM_S))
    return 0 if ratio <= MAKESPAN_LIMIT and cores <= CORES_LIMIT and rss_bytes <= RSS_LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
