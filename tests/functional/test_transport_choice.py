"""Which client library drives a phone: as asked, as the record says, and what is said where none can."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import TunneldConnectionError
from pymobiledevice3.tunneld.api import get_tunneld_tunnels
from typer.testing import CliRunner

from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.cli.main import app as command
from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.device.combined import CombinedTransport, open_transport
from harness.device.errors import StepError
from harness.device.interface import Capability, Transport
from harness.device.pymobiledevice3_ import Pymobiledevice3Transport
from harness.device.pymobiledevice3_.tunnel import DeveloperRoute, Way
from harness.device.tidevice_ import TideviceTransport
from harness.virtual.running import RunningPhone
from tests.functional.app_packages import BUNDLE_ID, SLEEPER
from tests.functional.conftest import MakeIpa, StartPhone
from tests.functional.whole_way import Bench

pytestmark = [
    # tidevice, unchanged since 2023, is imported with old names of datetime
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LIMIT_S = 60.0
# What waits for an answer is surely waiting by then.
UNDER_WAY_S = 0.3
# Well below the time after which TCP itself gives a dead tunnel up.
GONE_LIMIT_S = 10.0
DEVELOPER = {Capability.LAUNCH, Capability.MONITOR}


class Notes(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        await asyncio.sleep(0.05)


# -- the whole way


def one_trial(bench: Bench, word: Virtual, transport: str, notes: Notes) -> TrialRecord:
    suite = Suite.model_validate(
        {"name": "test", "models": [{"name": "tiny", "synth": "tiny"}], "options": {"trials": 1, "max_tokens": 128}}
    )
    (record,) = asyncio.run(run_suite(suite, word, bench.results, notes, RunOptions(transport=transport))).records
    return record


@pytest.mark.parametrize(
    ("ios", "profile", "asked", "said"),
    [
        ("16.7", "iphone-14", "tidevice", "tidevice"),
        ("18.5", "iphone-16-pro", "tidevice", "tidevice+pymobiledevice3"),
        ("18.5", "iphone-16-pro", "auto", "pymobiledevice3"),
    ],
)
def test_a_model_loads_and_the_record_says_through_what(
    bench: Bench, ios: str, profile: str, asked: str, said: str
) -> None:
    notes = Notes()
    record = one_trial(bench, Virtual(profile, {"ios": ios}), asked, notes)
    assert record.outcome == "loaded", record.reason
    assert record.transport == said
    assert record.host_peak_footprint_bytes, "the system monitor was read"
    assert any("pymobiledevice3 does" in text for text in notes.said) == ("+" in said)
    gc.collect()


def test_ios_17_3_without_a_tunneld_is_not_ready_and_says_what_helps(bench: Bench) -> None:
    record = one_trial(bench, Virtual("iphone-15-pro", {"ios": "17.3"}), "auto", Notes())
    assert record.outcome == "not_ready"
    assert "sudo pymobiledevice3 remote tunneld" in (record.reason or "")


@pytest.mark.anyio
async def test_ios_17_3_does_everything_else(phone_starter: StartPhone, make_ipa: MakeIpa) -> None:
    phone = phone_starter({"ios": "17.3"}, profile="iphone-15-pro")
    async with asyncio.timeout(LIMIT_S):
        transport = await open_transport(phone.udid)
        assert frozenset(Capability) - transport.capabilities == DEVELOPER
        await transport.install(make_ipa(SLEEPER), lambda what, done, total: None)
        assert await transport.installed_app(BUNDLE_ID) is not None
        async with transport.container(BUNDLE_ID) as container:
            await container.write_bytes("/Documents/x", b"12")
            assert await container.size("/Documents/x") == 2
        assert await transport.connect(free_port()) is None
        before = await transport.report_names()
        phone.control("jetsam_other", name="MobileMail")
        (name,) = await transport.report_names() - before
        assert await transport.read_report(name, 100)
        assert (await transport.condition()).battery_celsius is not None
        with pytest.raises(StepError, match="sudo pymobiledevice3 remote tunneld") as raised:
            await transport.launch(BUNDLE_ID, {})
        assert raised.value.outcome is Outcome.NOT_READY
        await transport.close()


def test_an_unknown_name_is_wrong_use_and_lists_the_names(tmp_path: Path, pytester: pytest.Pytester) -> None:
    with pytest.raises(UsageError, match="auto, pymobiledevice3, tidevice"):
        asyncio.run(open_transport("0", prefer="carrier-pigeon"))
    suite = tmp_path / "suite.toml"
    suite.write_text('name = "x"\n[[models]]\nname = "tiny"\nsynth = "tiny"\n')
    asked = ["run", str(suite), "--device=virtual", "--transport=carrier-pigeon", f"--results={tmp_path}/results"]
    ran = CliRunner().invoke(command, asked)
    assert isinstance(ran.exception, UsageError)
    said = pytester.runpytest_subprocess(f"{suite}", "--device=virtual", "--load-transport=carrier-pigeon")
    assert said.ret == pytest.ExitCode.USAGE_ERROR
    said.stderr.fnmatch_lines(["*carrier-pigeon*auto, pymobiledevice3, tidevice*"])


# -- who does what


@pytest.fixture
async def first(virtual_phone: RunningPhone) -> AsyncIterator[Pymobiledevice3Transport]:
    async with asyncio.timeout(LIMIT_S):
        opened = await Pymobiledevice3Transport.open(virtual_phone.udid)
    yield opened
    await opened.close()


@pytest.mark.anyio
async def test_tidevice_alone_says_what_it_cannot_do(first: Pymobiledevice3Transport) -> None:
    alone = TideviceTransport(first.facts, first.pair_record)
    assert frozenset(Capability) - alone.capabilities == DEVELOPER
    steps = (
        alone.launch("x", {}),
        alone.kill(1),
        alone.is_running(1),
        alone.wait_ended(1),
        anext(alone.watch_process(1, 50)),
    )
    for step in steps:
        with pytest.raises(StepError, match=r"18\.5.*--transport=auto") as raised:
            await step
        assert raised.value.outcome is Outcome.NOT_READY
    both = CombinedTransport([alone, first])
    assert both.capabilities == frozenset(Capability)
    assert both.division == (
        "tidevice does files, install, ports, reports, condition; pymobiledevice3 does launch, monitor"
    )


@pytest.mark.anyio
async def test_tidevice_pairs_nothing_and_forgets_nothing(first: Pymobiledevice3Transport, tmp_path: Path) -> None:
    stranger = TideviceTransport(first.facts, {**first.pair_record, "HostID": "00000000-0000-0000-0000-000000000000"})
    with pytest.raises(StepError, match="tap Trust") as raised:
        await stranger.installed_app(BUNDLE_ID)
    assert raised.value.outcome is Outcome.NOT_READY
    mux = await usbmux.create_mux()
    assert isinstance(mux, usbmux.PlistMuxConnection)
    kept = await mux.get_pair_record(first.facts.udid)
    await mux.close()  # type: ignore[no-untyped-call]  # the library left it without types
    assert kept["HostID"] == first.pair_record["HostID"], "usbmuxd still has the true pairing"
    known = TideviceTransport(first.facts, first.pair_record)
    assert await known.installed_app(BUNDLE_ID) is None, "and it is good"
    assert not (tmp_path / "host" / ".tidevice").exists(), "no key in the user's home"


@pytest.mark.anyio
async def test_a_pair_record_without_a_key_is_refused(first: Pymobiledevice3Transport) -> None:
    record = {key: value for key, value in first.pair_record.items() if key != "HostPrivateKey"}
    with pytest.raises(StepError, match="HostPrivateKey"):
        TideviceTransport(first.facts, record)


# -- tunneld


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[tuple[str, int]]:
    """A tunneld that says the same thing whatever it is asked."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


async def refusal(udid: str, tunneld: tuple[str, int]) -> str:
    route = DeveloperRoute(Way.TUNNELD, tunneld)
    transport = CombinedTransport([await Pymobiledevice3Transport.open(udid, developer_route=route)])
    try:
        assert frozenset(Capability) - transport.capabilities == DEVELOPER
        assert await transport.installed_app(BUNDLE_ID) is None, "the rest needs no tunnel"
        with pytest.raises(StepError) as raised:
            await transport.launch(BUNDLE_ID, {})
        assert raised.value.outcome is Outcome.NOT_READY
        return str(raised.value)
    finally:
        await transport.close()


@pytest.mark.anyio
async def test_no_tunneld_or_one_without_this_phone(virtual_phone: RunningPhone) -> None:
    async with asyncio.timeout(LIMIT_S):
        assert "sudo pymobiledevice3 remote tunneld" in await refusal(virtual_phone.udid, ("127.0.0.1", free_port()))
        nonsense = (b"{}", b"[]", b"3", b'{"%b": [3, {}, {"tunnel-address": 4}]}' % virtual_phone.udid.encode())
        for body in nonsense:
            with answering(body) as address:
                assert "has no tunnel to this phone" in await refusal(virtual_phone.udid, address)
        with answering(b"<html>") as address:
            assert "no tunneld answers" in await refusal(virtual_phone.udid, address)


@contextlib.contextmanager
def tunneld(phone: RunningPhone, log: Path) -> Iterator[tuple[str, int]]:
    """pymobiledevice3's own, looking at this phone's usbmuxd only. Needs root."""
    port = free_port()
    options = ["--port", str(port), "--no-usb", "--no-wifi", "--no-mobdev2", "--usbmux-address", phone.usbmux]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pymobiledevice3", "remote", "tunneld", *options],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip  # a stream a line says no more
        try:
            yield ("127.0.0.1", port)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def has_tunnel(address: tuple[str, int], udid: str) -> bool:
    try:
        return udid in await get_tunneld_tunnels(address)
    except TunneldConnectionError:
        return False


async def use(transport: Transport) -> None:
    """Launches, reads the monitor, ends."""
    pid = await transport.launch(BUNDLE_ID, {})
    async with contextlib.aclosing(transport.watch_process(pid, 50)) as monitor:  # type: ignore[type-var]  # each is a generator
        reading = await anext(monitor)
    assert reading.footprint_bytes
    await transport.kill(pid)

    async def ended() -> bool:
        return not await transport.is_running(pid)

    await until(ended)


@pytest.mark.anyio
@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/net/tun", os.W_OK), reason="a kernel tunnel needs root and /dev/net/tun"
)
async def test_through_the_tunnel_of_a_real_tunneld(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, tmp_path: Path
) -> None:
    """What iOS 17.0 – 17.3 needs, on a phone that offers it: a tunnel of the kernel, made by another process."""
    async with asyncio.timeout(2 * LIMIT_S):
        # tunneld does not pair
        await (await Pymobiledevice3Transport.open(virtual_phone.udid)).close()
        with tunneld(virtual_phone, tmp_path / "tunneld.log") as address:
            await until(lambda: has_tunnel(address, virtual_phone.udid))
            route = DeveloperRoute(Way.TUNNELD, address)
            opened = await Pymobiledevice3Transport.open(virtual_phone.udid, developer_route=route)
            transport = CombinedTransport([opened])
            assert transport.capabilities == frozenset(Capability)
            await transport.install(make_ipa(SLEEPER), lambda what, done, total: None)
            await use(transport)
            pid = await transport.launch(BUNDLE_ID, {})
            told = asyncio.create_task(transport.wait_ended(pid))
            assert not (await asyncio.wait({told}, timeout=UNDER_WAY_S))[0]
            virtual_phone.control("unplug")
            for step in (told, transport.is_running(pid)):
                with pytest.raises(StepError) as raised:
                    async with asyncio.timeout(GONE_LIMIT_S):
                        await step
                assert raised.value.outcome is Outcome.LOST
            virtual_phone.control("plug")

            async def again() -> bool:
                with contextlib.suppress(StepError):
                    await use(transport)
                    return True
                return False

            await until(again)
            await transport.close()
