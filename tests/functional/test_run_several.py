"""`harness run` on several phones of this machine: shared and whole suites, what is cut short and resumed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import counted
from harness.cli.main import entry
from harness.cli.run_several import Several
from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, ByUdid, DeviceWord, PhoneFacts, PhoneKind, Virtual
from harness.device.errors import PhoneNotFound
from harness.device.lease import FOLDER_VARIABLE, LockFolder, phone_lock
from harness.device.listing import ListedPhone
from harness.farm import local_phones
from harness.farm.client import News
from harness.farm.local import OutOfPatience, Patience
from harness.farm.local_phones import Meant, phones_meant
from harness.farm.wire import PhoneView, RunView
from harness.store.database import ResultStore

LIMIT_S = 420
SUITE = """
name = "several"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
engines = ["mmap"]
[options]
trials = {trials}
hold_ms = {hold_ms}
"""
UDIDS = [f"00008140-00000000000000{number:02X}" for number in range(4)]


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "locks"))


def _suite(folder: Path, trials: int, hold_ms: int = 100) -> Path:
    path = folder / "several.toml"
    path.write_text(SUITE.format(trials=trials, hold_ms=hold_ms))
    return path


def _command(suite: Path, results: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", "run", str(suite), "--results", str(results), "--json", *words]


def _run(suite: Path, results: Path, *words: str) -> list[dict[str, Any]]:
    ended = subprocess.run(
        _command(suite, results, *words), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told: list[dict[str, Any]] = json.loads(ended.stdout)
    return told


@pytest.mark.usefixtures("own_locks")
def test_phones_of_one_word_share_the_trials_and_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    suite, results = _suite(tmp_path, 4, hold_ms=2000), tmp_path / "results"
    words = ("--device", "virtual", "--phones", "2")
    process = subprocess.Popen(
        _command(suite, results, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("["):
            break
    os.kill(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, "".join(lines) + rest
    assert "--resume" in rest
    with ResultStore.open_existing(results) as store:
        (run_id,) = {record.run_id for record in store.trials()}
        before = {record.trial_id for record in store.trials() if not record.cut_short}
    assert before
    (told,) = _run(suite, results, *words, "--resume")
    assert (told["run_id"], told["state"], told["not_run"]) == (run_id, "done", [])
    assert told["target"] == "virtual:iphone-16-pro"
    assert len({trial["device_udid"] for trial in told["trials"]}) >= 2
    assert Path(told["run_page"]).is_file()
    with ResultStore.open_existing(results) as store:
        frame = counted(store.frame(run_id=run_id))
        assert sorted(frame["ordinal"]) == [1, 2, 3, 4]
        assert before <= set(frame["trial_id"])
        assert not frame["cut_short"].any()
        assert all(store.telemetry_path(trial_id).is_file() for trial_id in frame["trial_id"])
    # what was on its way is gone, and so is the way
    assert not (results / ".farm-spool").exists()


def _listed(
    udid: str,
    product_type: str | None,
    *,
    in_use: bool = False,
    connection: str = "USB",
    kind: PhoneKind = PhoneKind.PHYSICAL,
) -> ListedPhone:
    facts = None if product_type is None else PhoneFacts(udid, kind, product_type, "18.5", "22F76", "phone")
    return ListedPhone(udid, connection, facts, in_use, None, None if facts else "no answer")


ATTACHED = (
    _listed(UDIDS[0], "iPhone17,1", in_use=True),
    _listed(UDIDS[1], "iPhone17,1"),
    _listed(UDIDS[2], "iPhone15,2"),
    _listed(UDIDS[3], "iPhone15,2", connection="Network"),
)


@dataclass
class Desk:
    """Phones on cables, as `list_phones` tells of them."""

    monkeypatch: pytest.MonkeyPatch
    attached: Sequence[ListedPhone] = ATTACHED
    told: list[str] = field(default_factory=list)

    def meant(self, *words: DeviceWord, phones: int | None = None) -> Meant:
        async def listed() -> list[ListedPhone]:
            return list(self.attached)

        self.monkeypatch.setattr(local_phones, "list_phones", listed)
        return asyncio.run(phones_meant(words, phones, each=False, tell=self.told.append))

    def shares(self, *words: DeviceWord, phones: int | None = None) -> list[tuple[str, list[str]]]:
        return [
            (share.target, [phone.text for phone in share.phones]) for share in self.meant(*words, phones=phones).shares
        ]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, own_locks: None) -> Desk:
    return Desk(monkeypatch)


ALL, CLASS = AnyAttached(every=True), AnyAttached(every=False, product_type="iPhone17,1")


def test_words_become_phones_that_share(desk: Desk) -> None:
    everything = [("class:iPhone15,2", [UDIDS[2]]), ("class:iPhone17,1", [UDIDS[1], UDIDS[0]])]
    assert desk.shares(ALL) == everything
    # each phone once
    assert desk.shares(ALL, ALL, CLASS) == everything
    assert desk.shares(ByUdid(UDIDS[1]), ByUdid(UDIDS[1])) == [(UDIDS[1], [UDIDS[1]])]
    # the free one first
    assert desk.shares(CLASS, phones=1) == [("class:iPhone17,1", [UDIDS[1]])]
    assert desk.shares(ByUdid(UDIDS[1]), ALL) == [
        (UDIDS[1], [UDIDS[1]]),
        ("class:iPhone15,2", [UDIDS[2]]),
        ("class:iPhone17,1", [UDIDS[0]]),
    ]
    word = "virtual:iphone-16-pro"
    assert desk.shares(Virtual(), phones=3) == [(word, [word] * 3)]
    assert [share.each for share in desk.meant(Virtual(), Virtual()).shares] == [True]
    assert desk.shares(AnyAttached(every=False)) == [("any", ["any"])]


def test_one_phone_of_a_class_may_be_any_of_it(desk: Desk) -> None:
    (one,) = desk.meant(AnyAttached(every=False, product_type="iPhone15,2")).shares
    assert (one.alone, len(one.phones)) == (one.word, 1)
    (one,) = Desk(desk.monkeypatch, ATTACHED[2:]).meant(ALL).shares
    assert one.alone == ByUdid(UDIDS[2])


def test_kinds_never_share(desk: Desk) -> None:
    desk.attached = [ATTACHED[1], *(_listed(udid, "iPhone17,1", kind=PhoneKind.VIRTUAL) for udid in UDIDS[2:])]
    apart = [("class:iPhone17,1", [UDIDS[1]]), ("class:iPhone17,1 (virtual)", UDIDS[2:])]
    assert desk.shares(ALL) == apart
    assert desk.told == []
    assert desk.shares(CLASS) == apart
    assert ["each kind has a run of its own" in line for line in desk.told] == [True]
    # a phone that is opened alone is of the share's own kind
    assert [share.alone for share in desk.meant(CLASS).shares] == [ByUdid(UDIDS[1]), ByUdid(UDIDS[2])]


def test_a_phone_that_is_not_there_does_not_keep_the_others_from_running(desk: Desk) -> None:
    absent = ByUdid("00008140-00000000DEADBEEF")
    meant = desk.meant(absent, ByUdid(UDIDS[2]), ByUdid(UDIDS[3]))
    assert [share.target for share in meant.shares] == [UDIDS[2]]
    assert ["is not attached" in str(meant.missing[0]), "only on the network" in str(meant.missing[1])] == [True, True]
    assert absent.udid in str(meant.missing[0])
    with pytest.raises(PhoneNotFound, match=f"{absent.udid} is not attached.*{UDIDS[3]} is only on the network"):
        desk.meant(absent, ByUdid(UDIDS[3]))
    # somebody uses it, so it may just restart
    lock = LockFolder.shared().try_take(phone_lock(absent.udid), "a test")
    assert lock is not None
    meant = desk.meant(absent, ByUdid(UDIDS[2]))
    lock.release()
    assert [share.target for share in meant.shares] == [absent.udid, UDIDS[2]]


def test_words_that_do_not_go_together_are_refused(desk: Desk) -> None:
    for words, phones, text in (
        ([AnyAttached(every=False), Virtual()], None, "--device=any is one phone"),
        ([Virtual(), Virtual()], 2, "is there 2 times"),
        ([ByUdid(UDIDS[0])], 2, "--phones does not go with a UDID"),
        ([Virtual()], 65, "one machine takes 64"),
    ):
        with pytest.raises(UsageError, match=text):
            desk.meant(*words, phones=phones)


def test_phones_that_are_not_there_are_told_with_those_that_are(desk: Desk) -> None:
    for words in (
        [AnyAttached(every=False, product_type="iPhone9,9")],
        [ByUdid(UDIDS[0]), AnyAttached(False, "iPhone9,9")],
    ):
        with pytest.raises(PhoneNotFound, match=r"class:iPhone9,9: no such phone .* there is: 00008140"):
            desk.meant(*words)
    desk.attached = [_listed(UDIDS[0], None)]
    with pytest.raises(PhoneNotFound, match=r"--device=all: no such phone .*does not answer"):
        desk.meant(ALL)
    assert desk.told == [f"left out: {UDIDS[0]} does not answer: no answer"]
    desk.attached = ATTACHED[3:]
    with pytest.raises(PhoneNotFound, match=f"no phone is attached by USB .on the network, .*{UDIDS[3]}"):
        desk.meant(CLASS)


def _view(phone: str, state: str, product_type: str = "iPhone17,1", kind: str = "physical") -> PhoneView:
    return PhoneView(
        phone=phone, host="here", kind=kind, product_type=product_type, os_version="18.5", state=state, heard_s=0.0
    )


def _run_of(target: str, waiting: int = 1, running: int = 0, state: str = "active") -> RunView:
    return RunView(
        run_id="run", suite="several", target=target, priority=0, by="me@here",
        submitted_at="2026-11-23T12:00:00+00:00", state=state, total=4, waiting=waiting, running=running, done=0,
        given_up=0,
    )  # fmt: skip  # a run as it may stand


@pytest.mark.parametrize(
    ("runs", "phones"),
    [
        # it is running, or may run soon
        ([_run_of(UDIDS[0], running=1)], [_view(UDIDS[0], "gone")]),
        ([_run_of(UDIDS[0])], [_view(UDIDS[0], "resting")]),
        # the other run goes on
        ([_run_of(UDIDS[0]), _run_of(UDIDS[1], running=1)], [_view(UDIDS[0], "gone"), _view(UDIDS[1], "busy")]),
        ([_run_of("class:iPhone17,1 (virtual)")], [_view("V@here", "free", kind="virtual")]),
        ([_run_of("virtual:iphone-16-pro")], [_view("V@here", "free", kind="virtual")]),
    ],
)
def test_what_may_still_run_is_waited_for(runs: list[RunView], phones: list[PhoneView]) -> None:
    patience = Patience(0.0, lambda: 0.0)
    patience.check(News(tuple(runs), tuple(phones), ()))


@pytest.mark.parametrize(
    ("runs", "phones"),
    [
        # the other run is over, and its phone is no help
        ([_run_of(UDIDS[0]), _run_of(UDIDS[1], 0, 0, "done")], [_view(UDIDS[0], "gone"), _view(UDIDS[1], "free")]),
        ([_run_of("class:iPhone17,1")], [_view(UDIDS[0], "in_use"), _view("V@here", "free", kind="virtual")]),
        ([_run_of("class:iPhone17,1")], [_view(UDIDS[0], "out"), _view(UDIDS[1], "free", "iPhone15,2")]),
    ],
)
def test_phones_that_are_not_to_be_had_are_waited_for_so_long(runs: list[RunView], phones: list[PhoneView]) -> None:
    clock = iter([0.0, 59.0, 60.0])
    patience = Patience(60.0, lambda: next(clock))
    news = News(tuple(runs), tuple(phones), ())
    patience.check(news)
    patience.check(news)
    with pytest.raises(OutOfPatience, match=r"no phone could be had for 60 s: .* is (gone|in_use|out)"):
        patience.check(news)


def test_confirm_is_done_for_each_run_on_a_phone_of_its_own(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.attached = [ATTACHED[1], *(_listed(udid, "iPhone17,1", kind=PhoneKind.VIRTUAL) for udid in UDIDS[2:])]
    desk.meant(ALL)
    confirmed = []

    def ran(several: Several) -> tuple[int, list[dict[str, object]]]:
        told: list[dict[str, object]] = []
        for share in several.shares:
            several.of_run[share.target] = share
            told.append({"run_id": share.target, "target": share.target})
        named = several.shares[1]
        several.of_run["each"] = named
        return 0, [*told, {"run_id": "each", "target": f"{UDIDS[3]}@here"}]

    def confirm_on(word: DeviceWord, *_others: object) -> list[object]:
        confirmed.append(word.text)
        return []

    monkeypatch.setattr("harness.cli.run_several.run_several", ran)
    monkeypatch.setattr("harness.cli.run.confirm_on", confirm_on)
    monkeypatch.setattr("sys.argv", ["harness", "run", str(_suite(tmp_path, 1)), "--device=all", "--confirm", "--json"])
    with pytest.raises(SystemExit) as end:
        entry()
    assert end.value.code in (0, None)
    assert confirmed == [UDIDS[1], UDIDS[2], UDIDS[3]]
    assert [run["confirmations"] for run in json.loads(capsys.readouterr().out)] == [[], [], []]
