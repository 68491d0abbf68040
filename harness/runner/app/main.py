"""The app: starts the listener, answers the host, runs one trial on the main thread.

One process, one trial: the kernel's peak counters have no reset, and a fresh process is the only fair start.
"""

from __future__ import annotations

import errno
import os
import queue
import sys
import threading
from pathlib import Path

from .address_space import largest_mapping_bytes
from .ballast import hold_ballast
from .connection import Connection, Server
from .emulated_gpu import EmulatedGpu, emulated_gpu
from .engine import EngineKind
from .engine_floor import FLOORS
from .engine_litert_lm import litert_lm_kind
from .events import EventLog, bounded
from .guard import guard_of
from .identity import BuildInfo, describe, read_build_info
from .job import Bye, Cancel, Hello, Ping, Refusal, Resume, Run, decode_command
from .journal import Journal
from .lines import MAX_LINE_BYTES
from .memory_linux import AVAILABLE, FOOTPRINT, MemoryReader
from .notices import NoticeWatch, hold_memory_warnings
from .system_state import STATE_VARIABLE, SystemState, state_of
from .trial import Trial

PORT_VARIABLE = "RUNNER_PORT"
DEFAULT_PORT = 18017
EXIT_SETUP = 78
"""The environment is unusable (EX_CONFIG)."""
EXIT_PORT_TAKEN = 98
"""The port is taken (EADDRINUSE's number)."""
EXIT_BROKEN = 70
"""The server thread failed (EX_SOFTWARE)."""
HEARTBEAT_S = 0.5
"""The protocol asks for one a second; twice that leaves room for a busy machine."""
HELPER_STACK_BYTES = 512 * 1024
"""What iOS gives a secondary thread. Under RLIMIT_DATA the usual 8 MiB a thread may already be too much."""
SWITCH_INTERVAL_S = 0.0005
"""How long a Python thread may hold the interpreter while the sampler is due."""


class App:
    """The host's commands, carried out. Runs on the server's thread, except ``main_loop``."""

    def __init__(
        self,
        home: Path,
        server: Server,
        events: EventLog,
        engines: dict[str, EngineKind],
        memory: MemoryReader,
        system: SystemState | None,
        build: BuildInfo,
    ) -> None:
        self._home = home
        self._server = server
        self._events = events
        self._engines = engines
        self._memory = memory
        self._system = system
        self._facts = describe(build, {name: kind.version for name, kind in engines.items()})
        self._trial: Trial | None = None
        self._asked = False
        """Whether a trial was asked for, be it refused: after that the process has no further use."""
        self._to_run: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()

    def main_loop(self) -> None:
        """Run the trial when it comes, then wait until the host lets the app go. Belongs to the main thread."""
        trial = self._to_run.get()
        if trial is not None:
            trial.run()
            self._to_run.get()

    def serve(self) -> None:
        """Serve the host until the process ends. Belongs to the server's thread."""
        while True:
            try:
                self._server.serve(self._handle, self._heartbeat, HEARTBEAT_S)
            except MemoryError:
                continue  # the engine may give something back, or die and leave better evidence than ours
            except BaseException as error:  # noqa: BLE001  # a thread's outermost boundary
                # Without its ears the app is useless: say so and end, instead of looking alive.
                os.write(2, f"runner: the server failed: {type(error).__name__}: {error}\n".encode())
                os._exit(EXIT_BROKEN)

    def _heartbeat(self) -> None:
        trial = self._trial
        self._events.emit("heartbeat", phase=None if trial is None else trial.current_phase)

    def _handle(self, connection: Connection, line: bytes | None) -> None:
        try:
            if line is None:
                raise Refusal("too_long", f"a line has at most {MAX_LINE_BYTES} bytes")
            self._obey(connection, line)
        except Refusal as refusal:
            connection.refusals += 1
            self._events.emit(
                "error", kind=refusal.kind, message=bounded(refusal.message), phase=None, trial=refusal.trial
            )

    def _obey(self, connection: Connection, line: bytes) -> None:
        match decode_command(line):
            case Hello():
                self._events.emit(
                    "hello",
                    **self._facts,
                    **state_of(self._system),
                    **self._room(),
                    state=self._state(),
                    trial=None if self._trial is None else self._trial.name,
                )
            case Ping(host_t):
                self._events.emit("pong", host_t=host_t)
            case Run() as run:
                self._begin(run)
            case Resume(from_seq):
                self._resume(connection, from_seq)
            case Cancel():
                if self._trial is None or self._trial.answered:
                    raise Refusal("nothing_running", "there is no trial to cancel")
                self._trial.cancel()
            case Bye():
                self._server.drop(connection, politely=True)
                if self._asked and self._state() != "running":
                    self._to_run.put(None)

    def _room(self) -> dict[str, object]:
        """The memory that a load would find. Once a trial was asked for, trying it out would harm that trial."""
        memory = self._memory.read()
        return {
            "footprint_bytes": memory[FOOTPRINT],
            "available_bytes": memory[AVAILABLE],
            "largest_mapping_bytes": None if self._trial is not None else largest_mapping_bytes(),
        }

    def _state(self) -> str:
        if self._trial is None:
            return "idle"
        return "finished" if self._trial.answered else "running"

    def _resume(self, connection: Connection, from_seq: int) -> None:
        try:
            connection.send_from(self._events.offset_of(from_seq))
        except ValueError as error:
            raise Refusal("bad_command", str(error)) from error

    def _begin(self, run: Run) -> None:
        """Check what can be known beforehand, then hand the trial to the main thread."""
        self._asked = True
        try:
            if self._trial is not None:
                if self._trial.answered:
                    raise Refusal("already_run", "this process has run its trial: launch the app again")
                raise Refusal("busy", f"trial {self._trial.name} is running")
            trial = self._prepare(run)
        except Refusal as refusal:
            refusal.trial = run.trial
            raise
        self._trial = trial
        self._to_run.put(trial)

    def _prepare(self, run: Run) -> Trial:
        kind = self._engines.get(run.job.engine)
        if kind is None:
            raise Refusal("unknown_engine", f"no engine {run.job.engine}: this app has {', '.join(self._engines)}")
        model = self._model(run.job.model)
        guard = guard_of(run.job, self._memory)
        kind.refuse(run.job, model, self._home)
        try:
            self._events.begin_trial(run.trial, "heartbeat", phase=None)
        except FileExistsError:
            raise Refusal("bad_command", f"trial {run.trial} has been run on this phone: choose another name") from None
        return Trial(run.trial, run.job, model, self._home, kind, self._events, self._memory, guard)

    def _model(self, name: str) -> Path:
        documents = self._home / "Documents"
        try:
            model = (documents / name).resolve(strict=True)
        except (OSError, RuntimeError):
            raise Refusal("unknown_model", f"no model at Documents/{name}: push it first") from None
        if not model.is_relative_to(documents.resolve()) or not model.is_file():
            raise Refusal("unknown_model", f"Documents/{name} is not a file below Documents")
        return model


def main() -> int:
    """Run the app; returns the exit code."""
    home_text = os.environ.get("HOME")
    if not home_text or not Path(home_text).is_dir():
        return _complain("HOME must name the app's data container", EXIT_SETUP)
    port_text = os.environ.get(PORT_VARIABLE, str(DEFAULT_PORT))
    if not port_text.isascii() or not port_text.isdecimal() or not 1 <= int(port_text) <= 65535:
        return _complain(f"{PORT_VARIABLE} must be a port from 1 to 65535, got {port_text!r}", EXIT_SETUP)
    hold_memory_warnings()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    threading.stack_size(HELPER_STACK_BYTES)
    home = Path(home_text).resolve()
    try:
        journal = Journal(home / "Documents" / "trials")
        server = Server(int(port_text), journal)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _complain(f"port {port_text} is taken: set {PORT_VARIABLE} to a free one", EXIT_PORT_TAKEN)
        return _complain(str(error), EXIT_SETUP)
    events = EventLog(journal)
    try:
        gpu = emulated_gpu(os.environ)
        system = _system_state()
        build = read_build_info()
        app = App(home, server, events, _engines(gpu), MemoryReader(gpu, system), system, build)
    except ValueError as error:
        return _complain(f"the phone gave the app an environment it cannot read: {error}", EXIT_SETUP)
    try:
        ballast = hold_ballast(build.ballast_bytes)
    except OSError as error:
        return _complain(f"no room for the ballast of {build.ballast_bytes} bytes: {error}", EXIT_SETUP)
    NoticeWatch(events, system).start()
    threading.Thread(target=app.serve, name="server", daemon=True).start()
    app.main_loop()
    # it is there to the last: neither the engine nor the collector may have its pages earlier
    del ballast
    # Everything said is on disk and sent. The engine's own threads may still live: running its destructors under them
    # could crash, and a crash report would be read as the trial's end.
    os._exit(0)


def _engines(gpu: EmulatedGpu | None) -> dict[str, EngineKind]:
    litert_lm = litert_lm_kind(gpu)
    return dict(FLOORS) if litert_lm is None else {"litert_lm": litert_lm, **FLOORS}


def _system_state() -> SystemState | None:
    """What the phone tells about itself; None when it tells nothing."""
    path = os.environ.get(STATE_VARIABLE)
    return None if path is None else SystemState(Path(path))


def _complain(message: str, code: int) -> int:
    os.write(2, f"runner: {message}\n".encode())
    return code
