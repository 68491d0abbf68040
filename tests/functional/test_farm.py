"""The farm under fire: a hub and two hosts, each on a network of its own, and everything that can break does.

Real processes, real PostgreSQL, real links that are cut; the phones are virtual.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from harness.analysis.summary import counted
from harness.core.record import TrialRecord
from harness.store.telemetry import read_parquet
from tests.farm_members import CLIENT_LOG, PORT, Host, Hub, Kept, eventually
from tests.farm_network import Machine, NotAllowed, Place, farm_network, free_port, harness
from tests.functional import in_process
from tests.postgresql import PostgresqlServer

PHONES = 4
"""Of each host."""
CASES, TRIALS = 4, 16
CUT_S = 15.0
"""A host's link is away for so long at least."""
ENOUGH_ATTEMPTS = 6
RUN_LIMIT_S = 400.0
"""Far more than a suite takes on a machine with other work."""

# the floors only bring the file in: a trial costs next to nothing, and is long enough to be hit
UNDER_FIRE = f"""
name = "under-fire"
[[models]]
name = "tiny"
synth = "tiny"
[[models]]
name = "other"
synth = {{ base = "tiny", seed = 7 }}
[matrix]
engines = ["mmap", "read"]
[options]
trials = {TRIALS}
sample_hz = 20
hold_ms = 2000
"""

SHARED = """
name = "{name}"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
engines = ["mmap"]
[options]
trials = {trials}
sample_hz = 20
hold_ms = 400
"""
NIGHTLY_TRIALS, URGENT_TRIALS = 14, 4

KNOCKS = """
import socket, ssl, sys

def knock(name, wrap):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as door, wrap(door) as door:
            door.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = "shut" if door.recv(1) in (b"", b"\\x15") else "open"
    except TimeoutError:
        answer = "silent"
    except OSError:
        answer = "shut"
    print(name, answer)

unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
unknown.check_hostname, unknown.verify_mode = False, ssl.CERT_NONE
knock("plain", lambda door: door)
knock("tls", unknown.wrap_socket)
"""
"""Knocks at a hub's door as somebody without a certificate who does not care for the hub's."""


@pytest.fixture
def network(tmp_path: Path, models_cache: Path) -> Iterator[dict[str, Machine]]:
    """A machine for the hub and the client, and two for hosts."""
    (tmp_path / "suite.toml").write_text(UNDER_FIRE)
    try:
        with farm_network(tmp_path, ["hub", "host1", "host2"], {"XDG_CACHE_HOME": str(models_cache)}) as machines:
            yield machines
            for machine in machines.values():
                machine.show_logs()
    except NotAllowed as error:
        pytest.skip(f"this machine makes no networks for tests: {error}")


@pytest.fixture
def place(tmp_path: Path, models_cache: Path) -> Iterator[Place]:
    """This very machine."""
    with Place(tmp_path / "here", {"XDG_CACHE_HOME": str(models_cache)}) as here:
        yield here
        here.show_logs()


@pytest.fixture
def central(postgresql_server: PostgresqlServer, tmp_path: Path) -> str:
    """`--results` of an empty database. Its server is reached by a file: each network has a loopback of its own."""
    database = postgresql_server.new_database().rpartition("/")[2]
    account = f"tester:{postgresql_server.password}"
    where = f"host={postgresql_server.folder}&port={postgresql_server.port}&files={tmp_path / 'central'}"
    return f"postgresql://{account}@/{database}?{where}"


def test_a_suite_ends_complete_under_fire(network: dict[str, Machine], central: str, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certificates", *network)
    hub = Hub(network["hub"], "tls", central, certificates["hub"])
    hub.start()
    one, two = (Host(network[name], name, hub, certificates[name]) for name in ("host1", "host2"))
    joined = [one.join(PHONES), two.join(PHONES)]
    hub.wait_for_phones(2 * PHONES)
    client = hub.run(tmp_path / "suite.toml", "--attempts", ENOUGH_ATTEMPTS)
    with hub.kept() as kept:
        run_id = eventually(kept.only_run, "run in the ledger", alive=client)
        hit = hit_everything(hub, one, two, network["host2"], kept)
        code = client.wait(RUN_LIMIT_S)
        said = network["hub"].log(CLIENT_LOG)
        assert code == 0, said
        assert {host.poll() for host in joined} == {None}, one.place.log("host.log") + two.place.log("host.log")
        check_complete(kept, run_id)
        check_evidence(kept, hit)
        eventually(lambda: not one.undelivered() + two.undelivered(), "end of all deliveries")
    status = hub.status()
    assert status is not None
    assert len(status["phones"]) == 2 * PHONES
    assert [run["state"] for run in status["runs"]] == ["done"]
    strangers_get_nowhere(hub, [run_id], tmp_path)


def hit_everything(hub: Hub, one: Host, two: Host, cable: Machine, kept: Kept) -> list[TrialRecord]:
    """Kills, freezes, cuts and restarts, each when a trial is under way there; the attempts that were lost by it."""
    killed = one.at_a_trial()
    os.kill(killed.host_pid, signal.SIGKILL)
    frozen = one.at_a_trial(but=killed)
    os.kill(frozen.host_pid, signal.SIGSTOP)
    two.at_a_trial()
    cable.cut()
    cut_s = time.monotonic()
    lost = [killed, frozen, *two.trials(state="running")]
    eventually(lambda: all(kept.is_lost(record) for record in lost), "loss of all that was hit")
    eventually(lambda: time.monotonic() - cut_s > CUT_S, "end of the cut")
    cable.restore()
    known = {record.trial_id for record in two.trials()}
    eventually(lambda: {record.trial_id for record in two.under_way()} - known or None, "trial of a host that is back")
    one.at_a_trial()
    hub.kill()
    left = [trial for trial in kept.ledger.trials(killed.run_id) if trial.state == "waiting"]
    assert left, "everything had begun before the hub was killed: nothing would be shown"
    hub.start()
    # thawed while another phone is at its trial: only the attempt's number tells the two apart
    eventually(lambda: kept.standing(frozen).state != "waiting", "second attempt at the trial that froze")
    os.kill(frozen.host_pid, signal.SIGCONT)
    return lost


def check_complete(kept: Kept, run_id: str) -> None:
    """Every trial has exactly one record that counts, and the ledger names it."""
    frame = kept.store.frame(run_id=run_id)
    results = counted(frame)
    assert not results["cut_short"].any()
    assert set(results["outcome"]) == {"loaded"}
    assert set(frame["state"]) == {"done"}
    counting = Counter(zip(results["case"], results["ordinal"], strict=True))
    assert len(counting) == CASES * TRIALS
    assert set(counting.values()) == {1}
    trials = kept.ledger.trials(run_id)
    assert {trial.state for trial in trials} == {"done"}
    named = {(trial.case, trial.ordinal): (trial.trial_id, trial.attempt) for trial in trials}
    rows = zip(results["case"], results["ordinal"], results["trial_id"], results["attempt"], strict=True)
    assert named == {(case, ordinal): (trial_id, attempt) for case, ordinal, trial_id, attempt in rows}
    assert [run.state for run in kept.ledger.runs()] == ["done"]
    for trial_id in results["trial_id"]:
        assert len(read_parquet(kept.store.telemetry_path(trial_id))), f"{trial_id} has no telemetry"


def check_evidence(kept: Kept, hit: list[TrialRecord]) -> None:
    """Each attempt that was lost comes home all the same, and does not count."""
    for record in hit:
        there = eventually(partial(kept.evidence_of, record), f"evidence of {record.trial_id}")
        assert (there.attempt, there.state) == (record.attempt, "done")
        assert there.cut_short, there
        assert there.reason, "it does not say why it does not count"
        assert kept.standing(record).trial_id != record.trial_id


def make_certificates(folder: Path, *members: str) -> dict[str, Path]:
    """A CA in `folder`, and for each member the folder with its own three files."""
    folder.mkdir()
    made = {member: folder / member for member in members}
    commands = [["init", "ca"], *(["issue", "ca", "--name", name, "--out", str(own)] for name, own in made.items())]
    for command in commands:
        done = in_process.harness("farm", "certs", *command, folder=folder)
        assert done.returncode == 0, done.stderr
    return made


def strangers_get_nowhere(hub: Hub, runs: list[str], folder: Path) -> None:
    """Without a certificate, with one of another farm, and without TLS."""
    others = make_certificates(folder / "elsewhere", "stranger")["stranger"]
    (folder / "nothing").mkdir()

    def asking(address: str, certificates: Path) -> list[str]:
        return ["run", "suite.toml", "--farm", address, "--certs", str(certificates), "--device", "virtual"]

    without = in_process.harness(*asking(hub.address, folder / "nothing"), folder=folder)
    assert without.returncode == 2
    assert "ca.pem, cert.pem, key.pem" in without.stderr
    plain = in_process.harness(*asking(hub.address.replace("tls://", "tcp://"), others), folder=folder)
    assert plain.returncode == 2
    assert "tcp:// is refused" in plain.stderr
    of_another = hub.place.run(*harness("run", folder / "suite.toml", *asking(hub.address, others)[2:]))
    assert of_another.returncode == 4
    assert "certificate" in of_another.stderr
    knocks = hub.place.run(sys.executable, "-c", KNOCKS, hub.place.address, PORT)
    assert knocks.stdout.splitlines() == ["plain shut", "tls shut"], knocks.stderr
    after = hub.status()
    assert after is not None
    assert [run["run_id"] for run in after["runs"]] == runs


def test_an_urgent_suite_waits_at_most_for_the_trials_under_way(place: Place, tmp_path: Path) -> None:
    (tmp_path / "nightly.toml").write_text(SHARED.format(name="nightly", trials=NIGHTLY_TRIALS))
    (tmp_path / "urgent.toml").write_text(SHARED.format(name="urgent", trials=URGENT_TRIALS))
    hub = Hub(place, "tcp", str(tmp_path / "results"), None, free_port())
    hub.start()
    Host(place, "here", hub, None).join(2)
    hub.wait_for_phones(2)
    nightly = hub.run(tmp_path / "nightly.toml", "--priority", "-10", log="nightly.log")
    with hub.kept() as kept:
        eventually(lambda: len(kept.store.trial_ids()) >= 2, "first trials of the nightly", alive=nightly)
        urgent = hub.run(tmp_path / "urgent.toml", "--priority", 5, log="urgent.log")
        assert urgent.wait(RUN_LIMIT_S) == 0, place.log("urgent.log")
        assert nightly.wait(RUN_LIMIT_S) == 0, place.log("nightly.log")
        records = kept.store.trials()
        submitted = {run.suite: datetime.fromisoformat(run.submitted_at) for run in kept.ledger.runs()}
    assert Counter(record.suite for record in records) == {"nightly": NIGHTLY_TRIALS, "urgent": URGENT_TRIALS}
    assert {record.host_name for record in records} == {"here"}
    phones = {record.device_udid for record in records}
    assert len(phones) == 2
    for phone in phones:
        own = [record for record in records if record.device_udid == phone]
        last_urgent = max(record.started_at for record in own if record.suite == "urgent")
        before = [
            record
            for record in own
            if record.suite == "nightly" and record.started_at < last_urgent and _ended(record) > submitted["urgent"]
        ]
        assert len(before) <= 1, f"{phone}: the urgent suite waited for {len(before)} trials of the nightly"
        assert max(record.started_at for record in own) > last_urgent, "the nightly was over: nothing is shown"


def _ended(record: TrialRecord) -> datetime:
    assert record.finished_at is not None
    return datetime.fromisoformat(record.finished_at)
