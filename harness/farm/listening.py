"""Who may knock, and for how long: a stranger without a certificate must not keep members out.

Before the handshake is done nobody is known, and Dask waits for it for ever: a thousand connections that say nothing
would take all of a process's files. So a handshake has a limit of time, and of all that are under way the oldest goes
when there are too many: a member's takes milliseconds. Nothing is read of a stranger beyond TLS itself.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from distributed.comm import registry
from distributed.comm.tcp import TLSBackend, TLSListener

HANDSHAKE_LIMIT_S = 10.0
MAX_HANDSHAKES = 128
"""Under way at once, at one port."""
FILES_WANTED = 16_384
"""Open at once: a phone takes four connections of its hub."""


class GuardedListener(TLSListener):
    """Dask's own, with bounds before anybody is known."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # Dask's
        self._shaking: OrderedDict[Any, None] = OrderedDict()

    async def _prepare_stream(self, stream: Any, address: str) -> Any:
        self._shaking[stream] = None
        if len(self._shaking) > MAX_HANDSHAKES:
            oldest, _ = self._shaking.popitem(last=False)
            oldest.close()
        try:
            async with asyncio.timeout(HANDSHAKE_LIMIT_S):
                return await super()._prepare_stream(stream, address)  # type: ignore[no-untyped-call]
        except TimeoutError:
            stream.close()
            return None
        finally:
            self._shaking.pop(stream, None)


class _Backend(TLSBackend):
    _listener_class = GuardedListener


def guard_listeners() -> None:
    """From now on, wherever this process listens with TLS."""
    registry.backends["tls"] = _Backend()


def allow_more_files() -> None:
    """As many open files as the system lets this process have, up to what a large farm needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # some systems have a bound of their own beside the one that they tell
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def close_pages(server: Any) -> None:
    """Of a scheduler or worker: it serves pages in plain HTTP, of which a farm has none; nobody listens for them."""
    server.http_server.stop()
