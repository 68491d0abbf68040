"""`harness verdicts notify` against a web server of the test's own, over SIMULATED nights."""

from __future__ import annotations

import json
import logging
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli import main
from harness.cli.main import app
from harness.core.errors import HarnessError, UsageError
from harness.report.notify import STATE_NAME
from harness.report.notify_post import NotDelivered, check_webhook, post_json
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from tests.simulated_nights import FIRST_NIGHT, SimulatedHistory, SimulatedNight

SECRET = "T0/B0/hunter2"
GOOD = SimulatedNight(columns={"build": "n1"})
DEAD = SimulatedNight(outcomes=("bad_alloc",) * 5, columns={"build": "n2"})
NIGHTS = 20
LAST_GOOD = FIRST_NIGHT + timedelta(days=NIGHTS - 1)


@dataclass
class Script:
    """Answers of the server, one a request; after them 200. And what it was sent."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.requests]


@contextmanager
def serving(script: Script) -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((self.path, json.loads(body)))
            status, headers = script.answers.pop(0) if script.answers else (200, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """An address where one request is answered by hand."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.recv(65536)
                answer(peer)

        thread = Thread(target=once)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/services/{SECRET}"
        thread.join()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    with serving(Script()) as script:
        monkeypatch.setenv("HARNESS_WEBHOOK", script.url)
        yield script


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    keep(folder, "dead", [GOOD] * NIGHTS + [DEAD])
    keep(folder, "fine", [GOOD] * (NIGHTS + 1))
    return folder


@pytest.fixture
def results(kept: Path, tmp_path: Path) -> Path:
    """A case that dies on the last of its nights, and one that is as ever."""
    return Path(shutil.copytree(kept, tmp_path / "results"))


def keep(folder: Path, case: str, nights: Sequence[SimulatedNight], **columns: Any) -> None:
    records = SimulatedHistory(case=case, columns=columns).records(nights)
    with ResultStore.open(folder) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in records])


def notify(results: Path, *arguments: str) -> Result:
    answer = CliRunner().invoke(app, ["verdicts", "notify", "--results", str(results), *arguments])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def kinds(body: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one["series"].split("/")[3], one["kind"], one["was"]) for one in body["verdicts"]]


def test_a_changed_verdict_is_told_once(results: Path, hook: Script) -> None:
    assert "sent" in notify(results).stdout
    assert "nothing new" in notify(results).stdout
    ((path, body),) = hook.requests
    assert path == f"/services/{SECRET}"
    assert kinds(body)[0] == ("dead:outcome", "regressed", None)
    assert "fine:load_ns" not in str(body["verdicts"])
    lines = body["text"].splitlines()
    assert lines[1].startswith("• regressed, new: virtual/iPhone17,1/simulated/dead:outcome")
    assert lines[2].startswith("• missing: virtual/iPhone17,1/simulated/dead:(7 series)")
    assert len(lines) == 3


def test_only_what_changed_since_is_told(results: Path, hook: Script) -> None:
    notify(results, "--as-of", str(LAST_GOOD))
    assert hook.requests == []
    notify(results)
    notify(results, "--as-of", str(LAST_GOOD))
    first, second = hook.bodies
    assert {one[2] for one in kinds(first)} == {"same"}
    # what was regressed and is not any more is news, too
    assert ("dead:outcome", "same", "regressed") in kinds(second)


def test_another_webhook_has_a_memory_of_its_own(results: Path, hook: Script) -> None:
    notify(results)
    with serving(Script()) as other:
        assert "sent" in notify(results, "--webhook", other.url).stdout
        assert len(other.requests) == 1
    assert "nothing new" in notify(results).stdout


def test_busy_twice_then_delivered_once(results: Path, hook: Script) -> None:
    hook.answers = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]
    assert "sent" in notify(results).stdout
    assert len(hook.requests) == 3
    assert hook.bodies[0] == hook.bodies[2]
    assert "nothing new" in notify(results).stdout
    assert len(hook.requests) == 3


@pytest.mark.parametrize("answer", [(503, {}), (503, {"Retry-After": "999999"}), (404, {}), (302, {"Location": "/x"})])
def test_what_is_not_delivered_is_not_forgotten(
    results: Path, hook: Script, answer: tuple[int, dict[str, str]]
) -> None:
    hook.answers = [answer]
    with pytest.raises(NotDelivered):
        notify(results, "--retry-for", "0")
    assert not (results / STATE_NAME).exists()
    assert "sent" in notify(results).stdout


def test_a_server_that_is_not_there_is_exit_4_without_the_secret(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Script()) as gone:
        pass
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HARNESS_WEBHOOK", gone.url.replace("http://", "http://user:pass@"))
    monkeypatch.setattr("sys.argv", ["harness", "verdicts", "notify", "--results", str(results), "--retry-for", "0"])
    with pytest.raises(SystemExit) as ended:
        main.entry()
    assert ended.value.code == 4
    said = capsys.readouterr()
    assert "127.0.0.1:" in said.err
    assert not (results / STATE_NAME).exists()
    for secret in ("hunter2", "user", "pass"):
        assert secret not in said.err + said.out + caplog.text


def test_no_log_line_holds_the_address(results: Path, hook: Script, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    notify(results)
    assert hook.requests
    assert "hunter2" not in caplog.text
    assert "hunter2" not in (results / STATE_NAME).read_text()


def test_a_broken_head_of_an_answer_shows_no_address(caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP library warns of it, and quotes the address."""
    caplog.set_level(logging.DEBUG)
    with answering(lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\n\r\n")) as url:
        post_json(url, b"{}", retry_for_s=0)
    assert "hunter2" not in caplog.text


def test_an_answer_that_never_ends_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.notify_post.ATTEMPT_LIMIT_S", 0.3)
    left = Event()

    def drip(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nA: ")
        while not left.wait(0.05):
            peer.sendall(b"a")

    with answering(drip) as url:
        with pytest.raises(NotDelivered, match="no whole answer"):
            post_json(url, b"{}", retry_for_s=0)
        left.set()


def test_a_dry_run_sends_and_keeps_nothing(results: Path, hook: Script) -> None:
    body = json.loads(notify(results, "--dry-run").stdout)
    assert kinds(body)[0][:2] == ("dead:outcome", "regressed")
    assert hook.requests == []
    assert not (results / STATE_NAME).exists()
    assert notify(results, "--json").stdout == json.dumps({"sent": True, "changed": 8}, indent=2) + "\n"
    assert notify(results, "--dry-run").stdout == ""


def test_redirects_lead_only_to_the_same_host(results: Path, hook: Script) -> None:
    hook.answers = [(307, {"Location": "/moved"})]
    notify(results)
    assert [path for path, _ in hook.requests] == [f"/services/{SECRET}", "/moved"]
    with serving(Script()) as thief:
        (results / STATE_NAME).unlink()
        hook.answers = [(308, {"Location": thief.url})]
        with pytest.raises(NotDelivered, match="another host"):
            notify(results)
        assert thief.requests == []


def test_a_redirect_that_two_parsers_read_differently_is_not_followed(hook: Script) -> None:
    with serving(Script()) as thief:
        # this host by the one, the thief's by the other
        ours, theirs = (url.removeprefix("http://").partition("/")[0] for url in (hook.url, thief.url))
        hook.answers = [(307, {"Location": f"http://{theirs}\\@{ours}/x"})]
        with pytest.raises(NotDelivered, match="another host"):
            post_json(hook.url, b"{}", retry_for_s=0)
        assert thief.requests == []


def test_attempts_are_bounded_and_wait_as_they_are_told() -> None:
    waits: list[float] = []
    soon = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    with serving(Script()) as hook:
        hook.answers = [(503, {}), (500, {}), (429, {"Retry-After": "7"}), (503, {"Retry-After": soon}), (502, {})]
        post_json(hook.url, b"{}", retry_for_s=1000, wait=waits.append)
        assert waits == [1.0, 2.0, 7.0, 0.0, 16.0]
        hook.answers = [(503, {"Retry-After": "1001"})]
        with pytest.raises(NotDelivered, match="tried once"):
            post_json(hook.url, b"{}", retry_for_s=1000, wait=waits.append)


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.org/{SECRET}",
        f"ftp://example.org/{SECRET}",
        f"https:///{SECRET}",
        f"https://[bad/{SECRET}",
        f"https://example.org:99999/{SECRET}",
        f"https://example.org/{SECRET} x",
        f"http://127.0.0.1.example.org/{SECRET}",
        # read as localhost by one parser, as example.org by another
        f"http://example.org\\@localhost/{SECRET}",
        SECRET,
    ],
)
def test_only_https_leaves_this_machine(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_webhook(url)
    assert "hunter2" not in str(refused.value)


def test_https_and_this_machine_are_addresses() -> None:
    for url in ("https://hooks.example.org/a/b?c=d", "http://localhost:1/", "http://[::1]:80/x", "http://127.9.9.9/"):
        assert check_webhook(url) == url


def test_without_an_address_it_says_how_to_give_one(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_WEBHOOK", raising=False)
    with pytest.raises(UsageError, match="HARNESS_WEBHOOK"):
        notify(results)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "targets": {"a": {"b": {"c": 1}}}}',
        '{"version": 2, "targets": {}}',
        "[" * 99_999,
    ],
)
def test_a_memory_that_cannot_be_read_is_said_before_anything_is_sent(results: Path, hook: Script, damage: str) -> None:
    (results / STATE_NAME).write_text(damage)
    with pytest.raises(HarnessError, match="move it away"):
        notify(results)
    assert hook.requests == []


def test_hostile_names_call_nobody_and_demos_say_so(tmp_path: Path, hook: Script) -> None:
    folder = tmp_path / "results"
    name = "<!channel> & \n<https://evil.example|here> @all ~town [x](https://evil.example) ![](http://a.example)"
    keep(folder, name, [GOOD] * NIGHTS + [DEAD], origin="demo, seed 7")
    notify(folder)
    (body,) = hook.bodies
    assert "<" not in body["text"]
    # of what reads Markdown, and makes links of addresses
    assert not re.search(r"[@~]\w|://|\]\(", body["text"])
    assert "demo/virtual/" in body["text"]
    assert body["text"].count("\n") == 2
    assert all(one["demo"] for one in body["verdicts"])


def test_a_flood_is_cut_and_counted(tmp_path: Path, hook: Script) -> None:
    folder = tmp_path / "results"
    for number in range(26):
        keep(folder, f"case-{number:02}-{'x' * 500}", [GOOD] * 9 + [DEAD])
    notify(folder)
    (body,) = hook.bodies
    assert len(body["text"]) < 8_000
    assert len(body["verdicts"]) == 200
    assert body["left_out"] == 26 * 8 - 200


def test_a_change_dated_a_few_nights_off_is_the_same(results: Path, hook: Script) -> None:
    notify(results)
    path = results / STATE_NAME
    state = json.loads(path.read_text())
    ((target, told),) = state["targets"].items()
    name = next(one for one in told if one.endswith("dead:outcome"))
    move: Callable[[int], str] = lambda nights: str(LAST_GOOD + timedelta(days=1 + nights))  # noqa: E731  # short
    for nights, news in ((3, 0), (-3, 0), (4, 1)):
        told[name]["since"] = move(nights)
        path.write_text(json.dumps({**state, "targets": {target: told}}))
        assert json.loads(notify(results, "--json").stdout)["changed"] == news
