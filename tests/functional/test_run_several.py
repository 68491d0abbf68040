"""`harness run` on several phones of this machine: shared and whole suites, what is cut short and resumed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import counted
from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, ByUdid, DeviceWord, PhoneFacts, PhoneKind, Virtual
from harness.device.errors import PhoneNotFound
from harness.device.lease import FOLDER_VARIABLE
from harness.device.listing import ListedPhone
from harness.farm import local_phones
from harness.farm.local_phones import Share, shares_of
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
trials = 4
hold_ms = {hold_ms}
"""
UDIDS = [f"00008140-00000000000000{number:02X}" for number in range(4)]


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "locks"))


def _suite(folder: Path, hold_ms: int = 100) -> Path:
    path = folder / "several.toml"
    path.write_text(SUITE.format(hold_ms=hold_ms))
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


def _counting(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Without attempts that were run again: a machine with other work may freeze a phone for long enough."""
    return [trial for trial in run["trials"] if trial["trial_id"] not in run["replaced"]]


@pytest.mark.usefixtures("own_locks")
def test_phones_of_one_word_share_the_trials_and_each_is_run_once(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (told,) = _run(_suite(tmp_path), results, "--device", "virtual", "--phones", "2")
    assert (told["state"], told["not_run"], told["target"]) == ("done", [], "virtual:iphone-16-pro")
    assert Counter(trial["ordinal"] for trial in _counting(told)) == Counter([1, 2, 3, 4])
    assert len({trial["device_udid"] for trial in told["trials"]}) == 2
    assert Path(told["run_page"]).is_file()
    with ResultStore.open_existing(results) as store:
        frame = store.frame(run_id=told["run_id"])
        assert len(counted(frame)) == 4
        assert all(store.telemetry_path(trial_id).is_file() for trial_id in frame["trial_id"])
    # what was on its way is gone, and so is the way
    assert not (results / ".farm-spool").exists()


@pytest.mark.usefixtures("own_locks")
def test_a_word_that_stands_there_twice_is_two_phones_with_a_run_each(tmp_path: Path) -> None:
    told = _run(_suite(tmp_path), tmp_path / "results", "--device", "virtual", "--device", "virtual")
    assert [len(_counting(run)) for run in told] == [4, 4]
    udids = [{trial["device_udid"] for trial in run["trials"]} for run in told]
    assert [len(one) for one in udids] == [1, 1]
    assert udids[0] != udids[1]


@pytest.mark.usefixtures("own_locks")
def test_what_was_interrupted_goes_on_with_resume(tmp_path: Path) -> None:
    suite, results = _suite(tmp_path, hold_ms=2000), tmp_path / "results"
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
    assert told["run_id"] == run_id
    with ResultStore.open_existing(results) as store:
        frame = counted(store.frame(run_id=run_id))
        assert sorted(frame["ordinal"]) == [1, 2, 3, 4]
        assert before <= set(frame["trial_id"])
        assert not frame["cut_short"].any()


def _listed(udid: str, product_type: str, *, in_use: bool = False, connection: str = "USB") -> ListedPhone:
    facts = PhoneFacts(udid, PhoneKind.PHYSICAL, product_type, "18.5", "22F76", "phone")
    return ListedPhone(udid, connection, facts, in_use, None)


def _shares(monkeypatch: pytest.MonkeyPatch, *words: DeviceWord, phones: int | None = None) -> list[Share]:

    async def listed() -> list[ListedPhone]:
        return [
            _listed(UDIDS[0], "iPhone17,1", in_use=True),
            _listed(UDIDS[1], "iPhone17,1"),
            _listed(UDIDS[2], "iPhone15,2"),
            _listed(UDIDS[3], "iPhone15,2", connection="Network"),
        ]

    monkeypatch.setattr(local_phones, "list_phones", listed)
    return asyncio.run(shares_of(words, phones, each=False, tell=lambda _line: None))


ALL, CLASS = AnyAttached(every=True), AnyAttached(every=False, product_type="iPhone17,1")


def test_words_become_phones_that_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*words: DeviceWord, phones: int | None = None) -> list[tuple[str, list[str]]]:
        shares = _shares(monkeypatch, *words, phones=phones)
        return [(share.word.text, [phone.text for phone in share.phones]) for share in shares]

    everything = [("class:iPhone15,2", [UDIDS[2]]), ("class:iPhone17,1", [UDIDS[1], UDIDS[0]])]
    assert told(ALL) == everything
    # the free one first
    assert told(CLASS, phones=1) == [("class:iPhone17,1", [UDIDS[1]])]
    assert told(ByUdid(UDIDS[1]), ALL) == [
        (UDIDS[1], [UDIDS[1]]),
        ("class:iPhone15,2", [UDIDS[2]]),
        ("class:iPhone17,1", [UDIDS[0]]),
    ]
    word = "virtual:iphone-16-pro"
    assert told(Virtual(), phones=3) == [(word, [word] * 3)]
    assert [share.each for share in _shares(monkeypatch, Virtual(), Virtual())] == [True]
    assert told(AnyAttached(every=False)) == [("any", ["any"])]
    (one,) = _shares(monkeypatch, AnyAttached(every=False, product_type="iPhone15,2"))
    assert one.alone == one.word


def test_words_that_do_not_go_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for words, phones, text in (
        ([AnyAttached(every=False), Virtual()], None, "--device=any is one phone"),
        ([Virtual(), Virtual()], 2, "is there 2 times"),
        ([ByUdid(UDIDS[0])], 2, "--phones does not go with a UDID"),
        ([Virtual()], 65, "one machine takes 64"),
    ):
        with pytest.raises(UsageError, match=text):
            _shares(monkeypatch, *words, phones=phones)
    with pytest.raises(PhoneNotFound, match=r"class:iPhone9,9: no such phone .* there is: 00008140"):
        _shares(monkeypatch, AnyAttached(every=False, product_type="iPhone9,9"))
