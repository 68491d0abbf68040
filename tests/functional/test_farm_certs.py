"""Certificates of a farm: made with care, never overwritten, and no way into a hub without one."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.cli.main import entry
from harness.core.errors import UsageError
from harness.farm.address import Certificates, FarmAddress, certificates_in
from harness.farm.certs import CA_KEY_NAME, ephemeral, issue, make_ca, show
from harness.farm.hub.hub import HubOptions, open_hub
from harness.farm.link import HubUnreachable, open_link
from harness.farm.wire import Hello, Nothing

HELLO = Hello(version="0")


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    make_ca(tmp_path / "ca")
    return tmp_path / "ca"


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["harness", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        entry()
    return int(ended.value.code or 0)


def test_keys_are_for_their_owner_alone(ca: Path) -> None:
    made = issue(ca, "host1")
    assert stat.S_IMODE(ca.stat().st_mode) == 0o700
    assert stat.S_IMODE((ca / CA_KEY_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(made.key.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert certificates_in(ca / "host1") == made
    assert not (made.key.parent / CA_KEY_NAME).exists()


def test_what_is_there_is_never_overwritten(ca: Path) -> None:
    issue(ca, "host1")
    before = {path: path.read_bytes() for path in ca.rglob("*.*") if path.is_file()}
    with pytest.raises(UsageError, match="never overwritten"):
        make_ca(ca)
    with pytest.raises(UsageError, match="never overwritten"):
        issue(ca, "host1")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-x", "a b", "x" * 64, ".hidden", "ä"])
def test_a_name_is_no_path(ca: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        issue(ca, name)


def test_show_tells_what_is_wrong(ca: Path, tmp_path: Path) -> None:
    issue(ca, "host1")
    assert [(one.name, one.problem) for one in show(ca / "host1")] == [("iPhone load farm", None), ("host1", None)]
    now = datetime.now(UTC)
    soon = show(ca / "host1", now + timedelta(days=2 * 365 - 10))
    assert [one.problem is None for one in soon] == [True, False]
    assert "ends in 9 days" in str(soon[1].problem)
    assert "is over" in str(show(ca / "host1", now + timedelta(days=2 * 365 + 1))[1].problem)
    assert "clock" in str(show(ca / "host1", now - timedelta(days=2))[1].problem)
    (ca / "host1" / "key.pem").chmod(0o640)
    assert "chmod 600" in str(show(ca / "host1")[1].problem)
    make_ca(tmp_path / "other")
    (ca / "host1" / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
    assert "was not made by" in str(show(ca / "host1")[1].problem)
    (ca / "host1" / "cert.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="not a readable certificate"):
        show(ca / "host1")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "farm-ca"
    assert command(monkeypatch, "farm", "certs", "issue", folder, "--name", "h") == 2
    assert "harness farm certs init" in capsys.readouterr().err
    assert command(monkeypatch, "farm", "certs", "init", folder) == 0
    assert command(monkeypatch, "farm", "certs", "issue", folder, "--name", "h", "--out", tmp_path / "h") == 0
    assert str(tmp_path / "h") in capsys.readouterr().out
    assert command(monkeypatch, "farm", "certs", "show", tmp_path / "h", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["is_ca"], one["problem"]) for one in told] == [
        ("iPhone load farm", True, None),
        ("h", False, None),
    ]
    assert command(monkeypatch, "farm", "certs", "show", tmp_path / "nothing") == 2


def test_openssl_takes_the_chain_for_both_ends(ca: Path) -> None:
    """As a client and as a server, by the machine's own TLS."""
    made = issue(ca, "127.0.0.1")
    both = [_context(ssl.PROTOCOL_TLS_SERVER, made), _context(ssl.PROTOCOL_TLS_CLIENT, made)]
    assert _shake(both[0], both[1], "127.0.0.1") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(both[0], both[1], "127.0.0.2")


def _context(protocol: int, member: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_verify_locations(member.ca)
    context.load_cert_chain(member.certificate, member.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    ]
    for _ in range(10):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1].version()


@pytest.fixture
def members(ca: Path, tmp_path: Path) -> dict[str, Certificates]:
    """The hub's, and those who come: each with what it shows."""
    make_ca(tmp_path / "foreign")
    foreign = issue(tmp_path / "foreign", "host1")
    hub, host = issue(ca, "hub"), issue(ca, "host1")
    return {
        "hub": hub,
        "member": host,
        "another farm's": foreign,
        # trusts the hub, and shows a certificate of another CA
        "half another's": Certificates(host.ca, foreign.certificate, foreign.key),
    }


@pytest.mark.anyio
async def test_only_members_get_an_answer(members: dict[str, Certificates], tmp_path: Path) -> None:
    options = HubOptions(tmp_path / "results", FarmAddress("tls", "127.0.0.1", 0), members["hub"])
    async with open_hub(options, lambda _line: None) as hub:
        async with open_link(hub.address, members["member"]) as link:
            assert await link.ask("hello", HELLO, Nothing) == Nothing()
        for stranger in ("another farm's", "half another's"):
            async with open_link(hub.address, members[stranger]) as link:
                with pytest.raises(HubUnreachable, match="certificate of the same farm"):
                    await link.ask("hello", HELLO, Nothing, limit_s=5)
        plain = FarmAddress("tcp", "127.0.0.1", hub.address.port)
        async with open_link(plain, None) as link:
            with pytest.raises(HubUnreachable):
                await link.ask("hello", HELLO, Nothing, limit_s=5)
        nobody = ssl.create_default_context(cafile=str(members["hub"].ca))
        nobody.check_hostname = False
        assert await _bytes_for(nobody, hub.address.port) == b""
        # and the hub still works
        async with open_link(hub.address, members["member"]) as link:
            assert await link.ask("hello", HELLO, Nothing) == Nothing()


async def _bytes_for(context: ssl.SSLContext, port: int) -> bytes:
    """What the hub sends to one who shows no certificate."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(b"\x00" * 64)
                return await reader.read(1)
            finally:
                writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""


def test_a_farm_within_one_command_keeps_no_ca(tmp_path: Path) -> None:
    made = ephemeral(tmp_path)
    assert made == certificates_in(tmp_path / "member")
    assert not (tmp_path / "ca" / CA_KEY_NAME).exists()
    assert all(one.problem is None or "ends in" in one.problem for one in show(tmp_path / "member"))
