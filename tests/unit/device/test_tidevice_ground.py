"""What tidevice stands on here: threads that can be given up, TLS for two threads, answers that are not lost."""

from __future__ import annotations

import asyncio
import datetime
import queue
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# imports tidevice, unchanged since 2023, with old names of datetime
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]

LIMIT_S = 30.0
PIECE = bytes(range(256)) * 64
PIECES = 200


# -- threads


@pytest.mark.anyio
async def test_the_value_or_the_error_of_the_work() -> None:
    from harness.device.tidevice_.threads import in_thread

    def fail() -> None:
        raise ValueError("no")

    assert await in_thread(lambda: threading.current_thread().daemon, lambda: None) is True
    with pytest.raises(ValueError, match="no"):
        await in_thread(fail, lambda: None)


@pytest.mark.anyio
async def test_work_that_waits_is_given_up_at_the_limit() -> None:
    from harness.device.tidevice_.threads import in_thread

    begun, given_up, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        given_up.wait(LIMIT_S)
        ended.set()

    waiting = asyncio.create_task(in_thread(wait, given_up.set))
    assert await asyncio.to_thread(begun.wait, LIMIT_S)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert given_up.is_set()
    assert await asyncio.to_thread(ended.wait, LIMIT_S), "and the thread ends"


def test_an_answer_that_comes_when_the_loop_is_gone_disturbs_nobody() -> None:
    from harness.device.tidevice_.threads import in_thread

    go = threading.Event()

    async def leave() -> None:
        left_alone = asyncio.ensure_future(in_thread(lambda: go.wait(LIMIT_S), lambda: None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not left_alone.done()

    asyncio.run(leave())
    left = [thread for thread in threading.enumerate() if thread.name == "tidevice"]
    go.set()
    for thread in left:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for it in one file, as a host's part of a pairing."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key())
    )
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=36_500))
    made = builder.sign(key, hashes.SHA256())
    file = tmp_path_factory.mktemp("certificate") / "host.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for end in (one, other):
        end.settimeout(LIMIT_S)
    with one, other:
        yield one, other


def serve_echo(sock: socket.socket, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with context.wrap_socket(sock, server_side=True) as stream:
        while data := stream.recv(65536):
            stream.sendall(data)


def test_one_thread_reads_while_two_write(certificate: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    from harness.device.tidevice_.tls import TlsStream, phone_context

    echo = threading.Thread(target=serve_echo, args=(ends[1], certificate))
    echo.start()
    stream = TlsStream(ends[0], phone_context(str(certificate)))

    def write() -> None:
        for _ in range(PIECES):
            stream.sendall(PIECE)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    heard = bytearray()
    while len(heard) < 2 * PIECES * len(PIECE):
        heard += stream.recv(65536)
    for writer in writers:
        writer.join(LIMIT_S)
    assert heard == PIECE * (2 * PIECES), "no piece is torn, whoever sent it"
    ends[0].shutdown(socket.SHUT_RDWR)
    echo.join(LIMIT_S)


def test_a_handshake_with_nonsense_fails(certificate: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    from harness.device.tidevice_.tls import TlsStream, phone_context

    ends[1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        TlsStream(ends[0], phone_context(str(certificate)))


def test_a_shutdown_from_another_thread_ends_the_waiting(
    certificate: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    from harness.device.tidevice_.tls import TlsStream, phone_context

    echo = threading.Thread(target=serve_echo, args=(ends[1], certificate))
    echo.start()
    ends[0].settimeout(None)
    stream = TlsStream(ends[0], phone_context(str(certificate)))
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(stream.recv(1)))
    reader.start()
    ends[0].shutdown(socket.SHUT_RDWR)
    reader.join(LIMIT_S)
    assert heard == [b""]
    echo.join(LIMIT_S)


# -- answers


def test_an_answer_that_comes_as_one_begins_to_wait_is_found() -> None:
    """tidevice's own defaultdict loses about one in 250 of these."""
    from harness.device.tidevice_.instruments import Replies

    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(2_000):
            replies: Replies = Replies()
            together = threading.Barrier(2)

            def answer(replies: Replies = replies, together: threading.Barrier = together) -> None:
                together.wait()
                replies[1].put(None)

            thread = threading.Thread(target=answer)
            thread.start()
            together.wait()
            waiting: queue.Queue[object] = replies[1]
            thread.join()
            assert waiting.qsize() == 1
    finally:
        sys.setswitchinterval(former)
