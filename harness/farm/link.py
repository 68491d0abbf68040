"""One end's way to the hub: asks an operation, and has its answer checked. For clients and hosts alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from distributed.comm.core import CommClosedError
from distributed.core import ConnectionPool

from harness.core.errors import HarnessError
from harness.farm.address import Certificates, FarmAddress
from harness.farm.dask_settings import security_of, set_dask
from harness.farm.wire import Wire, read_answer

PREFIX = "farm_"
"""Of our operations among the scheduler's own."""
ANSWER_LIMIT_S = 30.0
CONNECTIONS_LIMIT = 16

_Answer = TypeVar("_Answer", bound=Wire)


class HubUnreachable(HarnessError):
    """The hub did not answer: it is away, the link is cut, or it refused our certificate."""


_WHERE = re.compile(r"^in <[^>]*>: ")
"""How Dask begins what it says of a connection that was closed."""


class Link:
    """Make one with `open_link`; each question is a round trip, several may be under way."""

    def __init__(self, address: FarmAddress, pool: ConnectionPool) -> None:
        self.address = address
        self._pool = pool

    async def ask(
        self, operation: str, message: Wire, answer: type[_Answer], *, limit_s: float = ANSWER_LIMIT_S
    ) -> _Answer:
        """The answer to `farm_<operation>`.

        Raises HubUnreachable; what the hub refused with (UsageError, DeviceError, HarnessError); Unintelligible.
        """
        try:
            async with asyncio.timeout(limit_s):
                plain = await getattr(self._pool(self.address.text), PREFIX + operation)(message=message.plain())
        except (OSError, CommClosedError, TimeoutError) as error:
            # where in the library it broke is of no use to whoever reads it
            told = _WHERE.sub("", str(error)) or "closed"
            why = f"no answer within {limit_s:g} s" if isinstance(error, TimeoutError) else told
            raise HubUnreachable(
                f"the hub {self.address.text} cannot be reached: {why[:300]}. Is `harness farm hub` running there, and "
                "is this machine's certificate of the same farm?"
            ) from None
        except Exception as error:  # noqa: BLE001  # Dask brings home whatever was raised there, and ours raise nothing
            why = f"{type(error).__name__}: {str(error)[:300]}"
            raise HarnessError(f"the hub {self.address.text} failed: {why}") from None
        if plain is None:
            # Dask's own way to say that it knows no such operation
            raise HubUnreachable(
                f"the hub {self.address.text} is not ready yet, or is no hub of a farm; ask again soon."
            )
        return answer.read(read_answer(plain))


@asynccontextmanager
async def open_link(address: FarmAddress, certificates: Certificates | None) -> AsyncIterator[Link]:
    """A link for the length of the `async with`; nothing is sent before the first question."""
    set_dask()
    security = security_of(address, certificates)
    pool = ConnectionPool(limit=CONNECTIONS_LIMIT, connection_args=security.get_connection_args("client"))
    await pool.start()
    try:
        yield Link(address, pool)
    finally:
        await pool.close()
