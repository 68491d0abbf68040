"""`python -m harness.farm.host.phone_process`: one phone of a host, in a process of its own.

    standing input   one line of options (`ProcessOptions`), then `{"attached": true|false}` lines; its end ends us
    standard output  lines of JSON for the host: {"beat": n}, {"tell": text}, {"phone": who it is}

SIGTERM: what is under way ends and is delivered, then the process ends; a second one ends it now. A host that is gone
takes its phones' processes with it, for their standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DeviceError, HarnessError, UsageError
from harness.farm.host.process_options import EXIT_USAGE, ProcessOptions

if TYPE_CHECKING:
    from harness.core.phone import PhoneFacts
    from harness.farm.host.phone_agent import PhoneAgent
    from harness.farm.host.phone_state import Standing
    from harness.farm.host.phone_turns import PhoneThread
    from harness.store.database import ResultStore

BEAT_S = 2.0
STALE_S = 20.0
"""A loop that has not turned for so long gives no further beat, and the host restarts the process."""
FINISH_LIMIT_S = 3600.0
"""What is under way at SIGTERM may take so long."""
CUT_LIMIT_S = 90.0
"""For the app to be ended and its evidence to be read; see `drive.CONCLUDE_LIMIT_S`."""
CLOSE_LIMIT_S = 15.0
RETRY_S = 5.0
EXIT_PHONE = 3
PATIENCE_S = 30.0
"""A virtual phone that does not start for so long is another process's try."""


class Mouth:
    """Lines to the host, written by a thread of their own: a host that does not read stops nobody."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._turned_s = time.monotonic()
        self._thread = threading.Thread(target=self._speak, name="mouth", daemon=True)
        self._thread.start()

    def tell(self, text: str) -> None:
        """A line for the host's owner."""
        self._lines.put({"tell": text})

    def say(self, what: Mapping[str, Any]) -> None:
        self._lines.put(what)

    def turned(self) -> None:
        """The main loop lives."""
        self._turned_s = time.monotonic()

    def _speak(self) -> None:
        number, next_s = 0, 0.0
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, next_s - time.monotonic()))
            except queue.Empty:
                next_s = time.monotonic() + BEAT_S
                if time.monotonic() - self._turned_s > STALE_S:
                    continue
                number += 1
                line = {"beat": number}
            try:
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
            except (OSError, ValueError):
                return


def main() -> int:
    """The process's exit code: 0 as asked, 2 wrong options, 3 no phone, 4 a fault."""
    mouth = Mouth()
    try:
        options = ProcessOptions.read(json.loads(sys.stdin.readline()))
        return asyncio.run(_serve(options, mouth))
    except UsageError as error:
        code, text = EXIT_USAGE, str(error)
    except DeviceError as error:
        code, text = EXIT_PHONE, str(error)
    except HarnessError as error:
        code, text = 4, str(error)
    except Exception as error:  # noqa: BLE001  # the host must hear of it in words
        traceback.print_exc()
        code, text = 4, f"a fault of the harness: {type(error).__name__}: {error}"
    mouth.say({"failed": text})
    time.sleep(0.1)
    return code


async def _serve(options: ProcessOptions, mouth: Mouth) -> int:
    from harness.core.phone import AnyAttached, parse_device_word
    from harness.farm.host.phone_state import Standing
    from harness.farm.host.phone_turns import PhoneThread, PhoneTurns
    from harness.farm.host.spool import record_host
    from harness.store.database import ResultStore

    word = parse_device_word(options.word)
    if isinstance(word, AnyAttached):
        raise UsageError(f"--device={options.word}: a phone's process has one phone, named by its UDID or virtual")
    requests = _Requests()
    beating = asyncio.create_task(_turn(mouth))
    try:
        with ResultStore.open(Path(options.spool)) as store:
            phone = PhoneThread(PhoneTurns(word, options.transport, store, record_host(options.host)))
            phone.start()
            try:
                facts = await _who(phone, mouth, requests)
                if facts is None:
                    return 0
                standing = Standing(facts, word, options.host, mouth.tell)
                phone.turns.listener = standing
                mouth.say({"phone": standing.phone, "label": facts.label, "name": facts.name})
                await _work(options, store, phone, standing, mouth, requests)
            finally:
                await asyncio.to_thread(phone.close, CLOSE_LIMIT_S)
    finally:
        beating.cancel()
    return 0


class _Requests:
    """What the host and the system ask of the process."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        """Finish, then go."""
        self.end = asyncio.Event()
        """Go now."""
        self.agent: PhoneAgent | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTERM, self._asked)
        # of a terminal it is the host's to hear; it asks us by SIGTERM
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._listen, name="host", daemon=True).start()

    def _asked(self) -> None:
        if self.leave.is_set():
            self.end.set()
        self.leave.set()

    def _listen(self) -> None:
        for line in sys.stdin:
            with suppress(ValueError, AttributeError, RuntimeError):
                there = json.loads(line).get("attached")
                if isinstance(there, bool) and self.agent is not None:
                    self._loop.call_soon_threadsafe(self.agent.attached, there)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.leave.set)
            self._loop.call_soon_threadsafe(self.end.set)


async def _turn(mouth: Mouth) -> None:
    while True:
        mouth.turned()
        await asyncio.sleep(BEAT_S / 2)


async def _who(phone: PhoneThread, mouth: Mouth, requests: _Requests) -> PhoneFacts | None:
    """Who the phone is, as soon as it says so; None: we are asked to go before."""
    from harness.farm.host.phone_turns import PhoneTurns

    told = ""
    while not requests.leave.is_set():
        try:
            return await asyncio.wrap_future(phone.ask(PhoneTurns.who))
        except UsageError:
            raise
        except HarnessError as error:
            if str(error) != told:
                mouth.tell(f"not yet in the farm: {error}")
            told = str(error)
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await requests.leave.wait()
    return None


async def _work(
    options: ProcessOptions,
    store: ResultStore,
    phone: PhoneThread,
    standing: Standing,
    mouth: Mouth,
    requests: _Requests,
) -> None:
    from harness.farm.host.phone_agent import PhoneAgent
    from harness.farm.link import open_link
    from harness.farm.tasks import runs_here

    async with open_link(options.address, options.certificate_files) as link:
        agent = requests.agent = PhoneAgent(options, store, link, phone, standing, mouth.tell)
        runs_here(agent.run_job)
        tasks = [asyncio.create_task(agent.work_forever()), asyncio.create_task(agent.announce_forever())]
        asked = [asyncio.create_task(requests.leave.wait())]
        try:
            done, _ = await asyncio.wait([*tasks, *asked], return_when=asyncio.FIRST_COMPLETED)
            for task in done & set(tasks):
                task.result()
            leaving = asyncio.create_task(agent.leave("its host leaves the farm", FINISH_LIMIT_S))
            now = asyncio.create_task(requests.end.wait())
            await asyncio.wait([leaving, now], return_when=asyncio.FIRST_COMPLETED)
            if now.done():
                await agent.cut_off(CUT_LIMIT_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(leaving, CLOSE_LIMIT_S)
            now.cancel()
        finally:
            for task in [*tasks, *asked]:
                task.cancel()
            await asyncio.gather(*tasks, *asked, return_exceptions=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # threads of a trial that would not end, and of Dask, are not waited for
    os._exit(code)
