"""The server as whoever asks it sees it: raw requests on its port, SIMULATED nights behind it."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.telemetry import Reading, Source
from harness.report import serve
from harness.report.serve import MAX_REQUEST_BYTES, MAX_STREAMS, SiteServer
from harness.report.serve_site import LOOK_INTERVAL_S
from harness.report.site import entry
from harness.report.site.data import SiteData
from harness.report.site.pages import Page, trial_page
from harness.store.database import ResultStore
from harness.store.errors import NoResults
from harness.store.schema import record_to_row, trials
from harness.store.telemetry import write_parquet
from tests.simulated_nights import SimulatedHistory, SimulatedNight

LIMIT_S = 60.0
CRASH = b"<script>alert(1)</script>"
HOSTILE = "wide\"'><script>alert(1)</script>"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Client:
    """Asks one server."""

    server: SiteServer
    results: Path

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.putrequest(method, target, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def open_stream(self) -> tuple[socket.socket, bytes]:
        """A connection to the events, and the first of what comes."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        connection.sendall(f"GET /live/events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        return connection, connection.recv(4096)


@contextmanager
def served(results: Path) -> Iterator[Client]:
    server = SiteServer(results)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Client(server, results)
    finally:
        server.shutdown()
        thread.join()
        server.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served") / "results"
    records = SimulatedHistory(case="heavier/litert_lm/cpu/cold", seed=1).records([SimulatedNight()])
    first, second, *rest = records
    first = replace(
        first, artifacts_dir=f"artifacts/{first.trial_id}", telemetry_file=f"telemetry/{first.trial_id}.parquet"
    )
    second = replace(second, case=f"{HOSTILE}/litert_lm/cpu/cold", model_name=HOSTILE)
    with ResultStore.open(folder) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in (first, second, *rest)])
        artifacts = store.artifacts_dir(first.trial_id)
        (artifacts / "crash.html").write_bytes(CRASH)
        (artifacts / "link").symlink_to("/etc/passwd")
        (artifacts / "out").symlink_to("/etc")
        write_parquet(store.telemetry_path(first.trial_id), [Reading(Source.APP, t_ns=1, footprint_bytes=5)])
        (folder / "telemetry" / "nobodys.parquet").write_bytes(b"PAR1")
        unclaimed = folder / "artifacts" / second.trial_id
        unclaimed.mkdir()
        (unclaimed / "stderr.txt").write_bytes(b"x")
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "notes.html").write_bytes(b"not of the site")
    with served(folder) as asked:
        yield asked


@pytest.fixture
def entry_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site of one page, where it is not the pages that matter."""

    def plan(data: SiteData, _folder: Path) -> list[Page]:
        return [entry.page(data)]

    monkeypatch.setattr("harness.report.serve_site.plan", plan)


@pytest.fixture(scope="module")
def trial_ids(client: Client) -> list[str]:
    with ResultStore.open_existing(client.results) as store:
        return store.trial_ids()


def test_the_site_is_there_with_a_way_to_the_live_page(client: Client) -> None:
    answer = client.ask("/")
    assert (answer.status, answer.headers["Location"]) == (302, "/report/index.html")
    page = client.ask("/report/index.html")
    assert page.status == 200
    assert page.body.count(b'<a href="/live">Live</a></nav>') == 1
    assert b"/live" not in (client.results / "report" / "index.html").read_bytes(), "only in what is served"


def test_every_answer_says_what_may_be_done_with_it(client: Client, trial_ids: list[str]) -> None:
    targets = ["/", "/report/index.html", "/live", "/nothing", "/..", f"/artifacts/{trial_ids[0]}/crash.html"]
    for target in targets:
        headers = client.ask(target).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, target
        assert policy.endswith("frame-ancestors 'none'"), target
        assert "script-src 'unsafe-inline'" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name in headers if name.lower().startswith("access-control")]
    live = client.ask("/live").headers["Content-Security-Policy"]
    assert "connect-src 'self'" in live
    assert re.search("script-src 'sha256-[^']+';", live)


def test_any_trial_has_a_page_when_it_is_asked_for(client: Client, trial_ids: list[str]) -> None:
    for trial_id in (trial_ids[1], trial_ids[-1]):
        page = client.ask(f"/report/{trial_page(trial_id)}")
        assert page.status == 200, page.body[:500]
        assert page.headers["Content-Type"].startswith("text/html")
        assert b"<script>alert" not in page.body
    assert client.ask("/report/trials/20200101-000000-000000-00000000.html").status == 404


def test_files_are_given_out_when_a_record_names_them(client: Client, trial_ids: list[str]) -> None:
    first, second = trial_ids[:2]
    assert client.ask(f"/telemetry/{first}.parquet").body.startswith(b"PAR1")
    crash = client.ask(f"/artifacts/{first}/crash.html")
    assert crash.body == CRASH
    assert crash.headers["Content-Type"] == "application/octet-stream", "a phone's text is no page of this server"
    assert crash.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in crash.headers["Content-Security-Policy"]
    for target in (
        "/telemetry/nobodys.parquet",
        f"/telemetry/{second}.parquet",
        f"/artifacts/{second}/stderr.txt",
        f"/artifacts/{first}",
        f"/artifacts/{first}/link",
        f"/artifacts/{first}/out/passwd",
        "/runs.db",
        "/.place",
        "/report/manifest.json",
        "/report/notes.html",
    ):
        assert client.ask(target).status == 404, target


def test_only_reading_and_only_by_its_own_name(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        answer = client.ask("/report/index.html", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    head = client.ask("/report/index.html", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(client.ask("/report/index.html").body)
    assert client.ask("/report/index.html", Host="evil.example").status == 421
    assert client.ask("/live/events", Sec_Fetch_Site="cross-site").status == 403


def test_a_request_without_end_is_not_read_to_its_end(client: Client) -> None:
    for request in ("GET /live HTTP/1.1\r\nX: " + "a" * MAX_REQUEST_BYTES, "GET /" + "a" * MAX_REQUEST_BYTES):
        with socket.create_connection(("127.0.0.1", client.port), timeout=LIMIT_S) as connection:
            connection.sendall(request.encode())
            # no end of the request has come, and the answer is there all the same
            assert connection.recv(12) in (b"HTTP/1.1 400", b"HTTP/1.1 431")
    with socket.create_connection(("127.0.0.1", client.port), timeout=LIMIT_S) as connection:
        connection.sendall(b"GET /live\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400", "nor is anything said without a head"
    assert client.ask("/live").status == 200, "and it goes on"


def test_nonsense_is_no_request(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=LIMIT_S) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert b"200" not in connection.recv(1000)
    assert client.ask("/live").status == 200


def test_live_pages_are_counted_and_let_go(client: Client) -> None:
    streams = [client.open_stream() for _ in range(MAX_STREAMS)]
    try:
        assert all(first.startswith(b"HTTP/1.1 200") for _, first in streams)
        assert client.ask("/live/events").status == 503
        assert client.ask("/live").status == 200
    finally:
        for connection, _ in streams:
            connection.close()


def test_the_live_page_says_so_when_nothing_is_in_progress(client: Client) -> None:
    page = client.ask("/live").body.decode()
    assert "Nothing is in progress." in page
    assert "Reload for news" in page
    assert "<script>alert" not in page


@pytest.mark.usefixtures("entry_alone")
def test_what_comes_later_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.serve_site.LOOK_INTERVAL_S", 0.0)
    monkeypatch.setattr("harness.report.serve_site.PATIENCE_S", LIMIT_S)
    assert LOOK_INTERVAL_S > 0
    first, *later = SimulatedHistory(case="later/litert_lm/cpu/cold", seed=2).records([SimulatedNight()])
    running = record_to_row(replace(first, state="running"))
    with ResultStore.open(tmp_path) as store, store.writing() as connection:
        connection.execute(trials.insert(), [running])
    with served(tmp_path) as client:
        assert client.ask("/").headers["Location"] == "/live", "there is no page yet"
        with ResultStore.open(tmp_path) as store, store.writing() as connection:
            connection.execute(trials.insert(), [record_to_row(record) for record in later])
        assert client.ask("/").headers["Location"] == "/report/index.html"
        assert b"later" in client.ask("/report/index.html").body


@pytest.mark.usefixtures("entry_alone")
def test_results_that_may_only_be_read_are_served_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = SimulatedHistory(case="a/litert_lm/cpu/cold", seed=3).records([SimulatedNight()])
    with ResultStore.open(tmp_path) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in records])
    # whoever runs the tests may be root, whom no mode holds off
    monkeypatch.setattr("harness.report.serve_site.os.access", lambda *_: False)
    with served(tmp_path) as client:
        assert client.ask("/report/index.html").status == 200
    assert not list((tmp_path / "report").iterdir())


def test_only_the_loopback_and_only_what_there_is(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "", "::", "192.0.2.1", "localhost"):
        with pytest.raises(UsageError, match=r"only 127\.0\.0\.1 is served"):
            SiteServer(tmp_path, host=host)
    with pytest.raises(NoResults):
        SiteServer(tmp_path)
    assert not list(tmp_path.iterdir()), "a reader makes nothing"


def test_a_port_that_is_taken_is_told(client: Client) -> None:
    for port in (client.port, 70_000):
        with pytest.raises(UsageError, match="port"):
            SiteServer(client.results, port)


def test_too_many_at_a_time_are_told_to_come_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MAX_REQUESTS", 1)
    # a server of its own: requests of other tests may still be ending
    with served(client.results) as narrow, socket.create_connection(("127.0.0.1", narrow.port), timeout=LIMIT_S):
        answer = narrow.ask("/live")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    monkeypatch.undo()
    assert serve.MAX_REQUESTS > MAX_STREAMS, "live pages do not keep others out"


def test_a_planted_page_chooses_no_policy(client: Client) -> None:
    """Results come from elsewhere, too, with a report in them."""
    planted = client.results / "report" / "runs" / "planted"
    planted.mkdir(parents=True)
    meta = '<meta http-equiv="Content-Security-Policy" content="script-src \'unsafe-inline\'">'
    (planted / "index.html").write_text(f"{meta}{CRASH.decode()}")
    answer = client.ask("/report/runs/planted/index.html")
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'none'" in policy
    assert "default-src 'none'" in policy


def test_a_request_that_drips_is_let_go(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST_LIMIT_S", 0.3)
    with socket.create_connection(("127.0.0.1", client.port), timeout=LIMIT_S) as peer:
        peer.sendall(b"GET /live HTTP/1.1\r\nX: ")
        peer.settimeout(0.05)
        answer = b""
        # more often than any silence is held against it, and without end
        for _ in range(int(LIMIT_S / 0.05)):
            try:
                answer = peer.recv(4096)
                break
            except TimeoutError:
                peer.sendall(b"a")
    assert b" 408 " in answer.splitlines()[0]


@pytest.mark.parametrize(
    "request_line", ["GET /live", "X" * 20_000, "GET /live HTTP/9.9", "GET /live HTTP/0.9", "GET", "\x00 / HTTP/1.1"]
)
def test_every_answer_has_a_head(client: Client, request_line: str) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=LIMIT_S) as peer:
        peer.sendall(f"{request_line}\r\n\r\n".encode())
        assert peer.recv(4096).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("name", ["Sec-Fetch-Site", "sec-fetch-site", "SEC-FETCH-SITE"])
def test_the_names_of_headers_have_no_case(client: Client, name: str) -> None:
    assert client.ask("/live", **{name: "cross-site"}).status == 403
