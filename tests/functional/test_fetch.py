"""Fetching over real https from a server that cuts, forgets, replaces and lies."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.bench import fetch as fetching
from harness.bench.fetch import Wanted, fetch, find_fetched
from harness.bench.fetch_http import FetchError
from harness.bench.models import locate
from harness.bench.suite import ModelEntry
from harness.core.errors import UsageError
from tests.functional.https_shelf import Shelf, served

SIZE_BYTES = 3_000_000
CONTENT = random.Random(7).randbytes(SIZE_BYTES)
COMMAND_LIMIT_S = 180


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A server that this process trusts."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    shelf = Shelf(CONTENT)
    with served(shelf, tmp_path) as authority:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        yield shelf


class Got(NamedTuple):
    path: Path
    new: bool
    pauses: list[float]


Get = Callable[..., Got]


@pytest.fixture
def get(shelf: Shelf, tmp_path: Path) -> Get:
    """Fetches the shelf's file into `tmp_path/models`."""

    def get(*, sha256: str = digest_of(CONTENT), url: str | None = None, source: str | None = None) -> Got:
        pauses: list[float] = []
        wanted = Wanted(url or shelf.url, sha256, source, "ask first" if source else None)
        path, new = fetch(wanted, tmp_path / "models", lambda *_: None, pause=pauses.append)
        return Got(path, new, pauses)

    return get


def test_a_file_is_fetched_once(shelf: Shelf, get: Get) -> None:
    first, second = get(), get()
    assert first.path.read_bytes() == CONTENT
    assert first.path.name == "model.task"
    assert (first.new, second.new) == (True, False)
    assert first.path == second.path
    assert len(shelf.asked) == 1


def test_nothing_is_left_beside_the_file(get: Get, tmp_path: Path) -> None:
    path = get().path
    assert sorted((tmp_path / "models").rglob("*")) == [path.parent, path]


def test_what_was_cut_goes_on_where_it_stopped(shelf: Shelf, get: Get) -> None:
    shelf.cuts = [1_000_000, 1, 700_000]
    got = get()
    assert got.path.read_bytes() == CONTENT
    assert [asked for _, asked in shelf.asked] == [None, "bytes=1000000-", "bytes=1000001-", "bytes=1700001-"]
    assert shelf.sent_bytes == SIZE_BYTES
    assert len(got.pauses) == 3


def test_another_fetch_goes_on_with_what_the_last_one_left(shelf: Shelf, get: Get) -> None:
    shelf.cuts = [2_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(FetchError, match=r"What has arrived \(1\.91 MiB\) is kept"):
        get()
    assert get().path.read_bytes() == CONTENT
    assert shelf.sent_bytes == SIZE_BYTES


def test_a_server_without_ranges_begins_anew(shelf: Shelf, get: Get) -> None:
    shelf.cuts, shelf.obeys_range = [1_000_000], False
    assert get().path.read_bytes() == CONTENT
    assert shelf.sent_bytes == SIZE_BYTES + 1_000_000


def test_a_server_that_never_gets_further_is_given_up(shelf: Shelf, get: Get) -> None:
    shelf.cuts, shelf.obeys_range = [1000] * 50, False
    with pytest.raises(FetchError, match="given up"):
        get()
    assert len(shelf.asked) < 10


@pytest.mark.parametrize("obeys_if_range", [True, False])
def test_a_file_that_was_replaced_on_the_way_is_fetched_anew(shelf: Shelf, get: Get, obeys_if_range: bool) -> None:
    shelf.content, shelf.etag, shelf.obeys_if_range = bytes(SIZE_BYTES), '"old"', obeys_if_range
    shelf.cuts = [1_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(FetchError):
        get()
    shelf.content, shelf.etag = CONTENT, '"new"'
    shelf.asked.clear()
    got = get()
    assert got.path.read_bytes() == CONTENT
    # a server that sends the wrong rest all the same is not listened to till its end
    again = ["bytes=1000000-"] if obeys_if_range else ["bytes=1000000-", None]
    assert [asked for _, asked in shelf.asked] == again
    assert len(got.pauses) == len(again) - 1


def test_a_file_that_was_replaced_without_a_word_is_fetched_anew(shelf: Shelf, get: Get) -> None:
    shelf.content, shelf.etag = bytes(SIZE_BYTES), None
    shelf.cuts = [1_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(FetchError):
        get()
    shelf.content = CONTENT
    assert get().path.read_bytes() == CONTENT
    assert [asked for _, asked in shelf.asked[-2:]] == ["bytes=1000000-", None]


def test_a_shorter_file_than_what_has_arrived_is_fetched_anew(shelf: Shelf, get: Get) -> None:
    shelf.content, shelf.etag = bytes(SIZE_BYTES), None
    shelf.cuts = [2_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(FetchError):
        get()
    shelf.content = CONTENT[:1_500_000]
    assert get(sha256=digest_of(CONTENT[:1_500_000])).new


def test_a_fetch_that_ended_with_its_last_byte_needs_no_server(shelf: Shelf, get: Get, tmp_path: Path) -> None:
    work = tmp_path / "models" / f"{digest_of(CONTENT)}.part"
    work.mkdir(parents=True)
    (work / "data").write_bytes(CONTENT)
    (work / "validator.json").write_text(json.dumps({"url": shelf.url, "etag": None, "total_bytes": None}))
    assert get().path.read_bytes() == CONTENT
    assert not shelf.asked


@pytest.mark.parametrize("note", ["", "[]", '{"url": 3}', "null", '{"url": "https://else.example/x", "etag": 1}'])
def test_a_spoilt_note_costs_only_the_part(shelf: Shelf, get: Get, tmp_path: Path, note: str) -> None:
    work = tmp_path / "models" / f"{digest_of(CONTENT)}.part"
    work.mkdir(parents=True)
    (work / "data").write_bytes(b"of another file")
    (work / "validator.json").write_text(note)
    assert get().path.read_bytes() == CONTENT
    assert shelf.asked == [("/models/model.task", None)]


def test_another_digest_than_asked_for_is_refused_and_thrown_away(get: Get, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"has the digest {digest_of(CONTENT)}, not {'0' * 64}"):
        get(sha256="0" * 64)
    assert find_fetched(tmp_path / "models", "0" * 64) is None
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("status", [401, 403])
def test_a_licence_gate_says_where_a_person_gets_the_file(shelf: Shelf, get: Get, status: int) -> None:
    shelf.answers = [(status, {})]
    with pytest.raises(UsageError, match=r"ask first\. Agree to it .* from https://example\.org/card.*`path`"):
        get(source="https://example.org/card")


def test_a_file_that_is_not_there_is_not_asked_for_again(shelf: Shelf, get: Get) -> None:
    shelf.answers = [(404, {})]
    with pytest.raises(UsageError, match="no such file"):
        get()
    assert len(shelf.asked) == 1


def test_a_busy_server_is_waited_for_as_long_as_it_asks_within_reason(shelf: Shelf, get: Get) -> None:
    shelf.answers = [(503, {"Retry-After": "7"}), (429, {"Retry-After": "86400"}), (500, {})]
    got = get()
    assert got.path.read_bytes() == CONTENT
    assert got.pauses[:2] == [7, fetching.LONGEST_PAUSE_S]


def test_redirects_are_followed_to_https_only(shelf: Shelf, get: Get) -> None:
    shelf.answers = [(302, {"Location": "/storage/abc?key=1"})]
    assert get().path.name == "model.task"
    assert [path for path, _ in shelf.asked] == ["/models/model.task", "/storage/abc?key=1"]


def test_a_redirect_to_plain_http_is_refused(shelf: Shelf, get: Get) -> None:
    shelf.answers = [(301, {"Location": f"http://127.0.0.1:{shelf.port}/model.task"})]
    with pytest.raises(FetchError, match="not an https address"):
        get()


def test_redirects_end(shelf: Shelf, get: Get) -> None:
    shelf.answers = [(307, {"Location": "/again"})] * 20
    with pytest.raises(FetchError, match="more than 5 redirects"):
        get()


def test_a_compressed_answer_is_refused(shelf: Shelf, get: Get) -> None:
    shelf.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(FetchError, match="compresses"):
        get()


def test_a_file_without_end_is_refused(shelf: Shelf, get: Get) -> None:
    shelf.headers = {"Content-Length": str(1 << 40)}
    with pytest.raises(FetchError, match=r"claims 1024 GiB"):
        get()


def test_room_is_looked_for_before_the_first_byte(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    little = shutil.disk_usage("/")._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    with pytest.raises(FetchError, match=r"there are 100 MiB; make room"):
        get()


def test_a_server_nobody_vouches_for_is_refused(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FetchError, match=r"not to be trusted.*SSL_CERT_FILE"):
        get()


def test_a_proxy_of_the_environment_is_used(shelf: Shelf, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        asked: list[bytes] = []
        proxy = threading.Thread(target=tunnel_once, args=(listener, asked))
        proxy.start()
        assert get().path.read_bytes() == CONTENT
        proxy.join()
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{shelf.port} ".encode())


def tunnel_once(listener: socket.socket, asked: list[bytes]) -> None:
    """An http proxy for one connection."""
    client, _ = listener.accept()
    with client:
        asked.append(client.recv(4096))
        host, _, port = asked[0].split()[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=carry, args=(server, client))
            back.start()
            carry(client, server)
            back.join()


def carry(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # the other side has hung up
        pass


@pytest.mark.parametrize(
    ("url", "sha256", "complaint"),
    [
        ("http://example.org/a.task", "0" * 64, "https"),
        ("https:///a.task", "0" * 64, "https"),
        ("https://[", "0" * 64, "no address"),
        ("https://example.org/a.task", "0" * 63, "no SHA-256"),
        ("https://example.org/a.task", "A" * 64, "no SHA-256"),
    ],
)
def test_an_address_or_digest_that_is_none_is_refused(url: str, sha256: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Wanted(url, sha256)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/b.task?download=true", "b.task"),
        ("https://example.org/", "model"),
        ("https://example.org/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://example.org/%2e%2e", "model"),
        ("https://example.org/a%20b%00.litertlm", "a-b-.litertlm"),
    ],
)
def test_a_file_name_is_plain(url: str, name: str) -> None:
    assert Wanted(url, "0" * 64).file_name == name


def test_a_run_needs_its_models_fetched_and_then_finds_them(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = ModelEntry(name="far", url=shelf.url, sha256=digest_of(CONTENT))
    with pytest.raises(UsageError) as refused:
        locate(entry, lambda *_: None)
    command = str(refused.value).partition("harness ")[2]
    done = harness(*command.split(), "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    model = locate(entry, lambda *_: None)
    assert (str(model.path), model.sha256, model.size_bytes) == (told["path"], digest_of(CONTENT), SIZE_BYTES)


def test_a_suite_says_what_must_be_got_by_hand(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "two"\n'
        f'[[models]]\nname = "far"\nurl = "{shelf.url}"\nsha256 = "{digest_of(CONTENT)}"\n'
        '[[models]]\nname = "near"\npath = "near.task"\nsource = "https://example.org/card"\nlicence = "ask first"\n'
    )
    done = harness("models", "fetch", str(suite))
    assert done.returncode == 2
    assert "fetched" in done.stdout
    assert "get it from https://example.org/card (licence: ask first)" in " ".join(done.stderr.split())


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, timeout=COMMAND_LIMIT_S
    )
