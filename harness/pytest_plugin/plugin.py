"""Options, collection, and the end of the session. Heavy imports wait until a device is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.bench.run_options import PreflightMode
from harness.core.errors import DeviceError, HarnessError, UsageError
from harness.core.phone import FORMS, AnyAttached, DeviceWord, PhoneFacts, parse_device_word
from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.pytest_plugin import several
from harness.pytest_plugin.keys import CONTROLLER, LIVE, TOLD, WORDS, group_marks

if TYPE_CHECKING:
    from harness.pytest_plugin.live import LivePhone
    from harness.store.address import ResultsAddress

DEVICE_FIXTURE = "_device_word"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("load", "loads of language models on iPhones")
    group.addoption("--device", action="append", metavar="WORD", default=None, help=f"repeatable: {FORMS}")
    group.addoption(
        "--load-suite", action="append", metavar="FILE", default=None, help="run this suite file as well; repeatable"
    )
    group.addoption(
        "--load-phones",
        type=int,
        metavar="N",
        default=None,
        help="with -n (pytest-xdist): so many phones share a virtual word's items, at most so many a class's",
    )
    group.addoption("--load-results", metavar="DIR", default=None, help="results folder (default: results)")
    group.addoption(
        "--load-runner",
        action="append",
        metavar="RUNNER",
        default=None,
        help="auto, python, swift, or the path of an .ipa (default: auto); repeatable, one .ipa a variant",
    )
    group.addoption(
        "--load-transport",
        metavar="NAME",
        default=None,
        help="auto, or the client library that does what it can on the phone (default: auto)",
    )
    group.addoption(
        "--load-lease-wait",
        type=float,
        metavar="SECONDS",
        default=None,
        help="wait so long for a phone that another process uses (default: 3600)",
    )
    group.addoption(
        "--load-keep",
        action="append",
        metavar="NAME",
        default=None,
        help="never remove this model (file name, or begin of its digest) from the phone; repeatable",
    )
    group.addoption(
        "--load-preflight",
        choices=[mode.value for mode in PreflightMode],
        default=None,
        help="instead of the suite's: keep predictions (record), skip what will not load (stop), off",
    )
    group.addoption(
        "--load-build",
        metavar="NAME",
        default=None,
        help="of what is under test, for the records: a nightly's number, a commit",
    )
    group.addoption(
        "--load-fail-on",
        action="append",
        metavar="WHAT",
        default=None,
        help="regression, missing: fail when the nights of the results, or the baseline, say so; repeatable",
    )
    group.addoption(
        "--load-baseline",
        metavar="REF",
        default=None,
        help="compare with these earlier trials: run:ID, build:NAME, a results folder or database, an exported file",
    )
    parser.addini("load_testpaths", "what `pytest --device=…` runs when no path is given", type="args", default=[])
    parser.addini("load_phones", "with -n: phones that share the items of a virtual word or a class", default="")
    parser.addini("load_results", "results folder", default="results")
    parser.addini("load_runner", "runner app, or apps", type="args", default=["auto"])
    parser.addini("load_transport", "client library that does what it can on the phone", default="auto")
    parser.addini("load_keep", "models that are never removed from the phone", type="args", default=[])
    parser.addini("load_preflight", "instead of the suite's: record, stop or off", default="")
    parser.addini("load_build", "name of what is under test", default="")
    parser.addini(
        "load_fail_on", "regression, missing: what the nights or the baseline may not say", type="args", default=[]
    )
    parser.addini("load_baseline", "earlier trials to compare with", default="")
    parser.addini("load_lease_wait", "seconds to wait for a phone that another process uses", default="")


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    # a wrapper: before xdist makes its own choice
    if config.getoption("--device") and not several.is_worker(config):
        several.choose_distribution(config)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    try:
        words = _words(config)
    except (UsageError, DeviceError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[WORDS] = words
    paths = config.getini("load_testpaths")
    if words and paths and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(config.rootpath / path) for path in paths]
    config.args += config.getoption("--load-suite") or []
    if words:
        _prepare_live(config)


def _words(config: pytest.Config) -> list[str]:
    """The device words; of several processes the controller reads them, and the workers are told."""
    texts: list[str] = config.getoption("--device") or []
    words = [parse_device_word(text) for text in texts]
    phones = several.phones_limit(config)
    if not texts:
        return []
    if several.is_worker(config):
        config.stash[TOLD] = told = several.told(config)
        config.pluginmanager.register(told, several.PLUGIN)
        told.mind_interrupts()
        return told.words
    if not several.asked_for(config):
        return _expanded(words, texts)
    import asyncio

    from harness.pytest_plugin.seats import seats_of

    seats = asyncio.run(seats_of(words, texts, phones))
    config.stash[CONTROLLER] = controller = several.Controller(config, seats)
    config.pluginmanager.register(controller, several.PLUGIN)
    return list(seats)


def _expanded(words: list[DeviceWord], texts: list[str]) -> list[str]:
    """`all` becomes one word for each phone that is attached now; without it the words stay as they were written."""
    if not any(isinstance(word, AnyAttached) and word.every for word in words):
        return texts
    import asyncio

    from harness.device.registry import expand

    return [word.text for word in asyncio.run(expand(words))]


def _prepare_live(config: pytest.Config) -> None:
    from harness.bench.run_options import LEASE_WAIT_S, RunOptions
    from harness.device.combined import parse_transport
    from harness.pytest_plugin.live import LivePhone
    from harness.pytest_plugin.terminal import TerminalListener
    from harness.runner.choice import parse_runner
    from harness.store.address import parse_results

    given, default = config.getoption("--load-results"), config.getini("load_results")
    runner = config.getoption("--load-runner") or config.getini("load_runner")
    transport = config.getoption("--load-transport") or config.getini("load_transport")
    try:
        results = parse_results(given or (default if "://" in default else str(config.rootpath / default)))
        parse_transport(transport)
        parse_runner(runner)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    keep = config.getoption("--load-keep") or config.getini("load_keep")
    lease_wait_s = _seconds(config, "load_lease_wait", LEASE_WAIT_S)
    options = RunOptions(
        runner=tuple(runner),
        transport=transport,
        keep=tuple(keep),
        preflight=_preflight(config),
        lease_wait_s=lease_wait_s,
        build=config.getoption("--load-build") or config.getini("load_build") or None,
    )
    told = config.stash.get(TOLD, None)
    if told is not None:
        # judged is once, by the controller
        config.stash[LIVE] = LivePhone(results, options, TerminalListener(config), told.tell_run)
        return
    _prepare_judge(config, results)
    config.stash[LIVE] = LivePhone(results, options, TerminalListener(config))


def _prepare_judge(config: pytest.Config, results: ResultsAddress) -> None:
    from harness.pytest_plugin.judgement import JUDGE, session_judge

    try:
        judge = session_judge(config, results)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    if judge is not None:
        config.stash[JUDGE] = judge


def _preflight(config: pytest.Config) -> PreflightMode | None:
    word = config.getoption("--load-preflight") or config.getini("load_preflight")
    if word and word not in tuple(PreflightMode):
        raise pytest.UsageError(f"load_preflight: {word!r} is none of {', '.join(PreflightMode)}")
    return PreflightMode(word) if word else None


def _seconds(config: pytest.Config, name: str, default: float) -> float:
    """Of the flag or its ini twin; UsageError for what is no duration."""
    asked = config.getoption(name)
    text = config.getini(name) if asked is None else str(asked)
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    # not "< 0": of NaN that is false
    if not seconds >= 0:
        raise pytest.UsageError(f"{name}: {text!r} is no number of seconds")
    return seconds


def _live(config: pytest.Config) -> LivePhone | None:
    return config.stash.get(LIVE, None)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".toml":
        return None
    from harness.pytest_plugin.items import SuiteFile, looks_like_suite

    if parent.session.isinitpath(file_path) or looks_like_suite(file_path):
        return SuiteFile.from_parent(parent, path=file_path)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `phone` or `load` runs once on each device."""
    if DEVICE_FIXTURE in metafunc.fixturenames:
        words: list[str | None] = [*metafunc.config.stash[WORDS]] or [None]
        ids = [word if word is not None else "no-device" for word in words]
        params = [pytest.param(word, marks=group_marks(metafunc.config, word)) for word in words]
        metafunc.parametrize(DEVICE_FIXTURE, params, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _device_word(request: pytest.FixtureRequest) -> str:
    if request.param is None:
        from harness.pytest_plugin.items import NO_DEVICE

        pytest.skip(NO_DEVICE)
    return str(request.param)


@pytest.fixture
def phone(request: pytest.FixtureRequest, _device_word: str) -> PhoneFacts:
    """The phone under test: who it is. Skips without `--device`; a named phone that is absent is an error."""
    live = _live(request.config)
    assert live is not None, "a device word stands on the command line"
    return live.conductor(_device_word).facts


@pytest.fixture
def load(request: pytest.FixtureRequest, _device_word: str, phone: PhoneFacts) -> Callable[..., TrialRecord]:
    """`load(model, backend="cpu", cache="cold", expect="loaded", **options)` does one trial; gives its record.

    `model` is a recipe of the model maker (`tiny`, `wide`) or the path of a model file; `options` are those of a
    suite's `[options]`. An outcome other than `expect` fails the test, device trouble is an error.
    """
    from harness.bench.single import single_trial
    from harness.pytest_plugin.items import judge, properties

    live = _live(request.config)
    assert live is not None, "a device word stands on the command line"

    def load_once(model: str | Path, **asked: Any) -> TrialRecord:
        record = live.run_trial(_device_word, single_trial(request.node.name, model, **asked))
        request.node.user_properties.extend(properties(record))
        judge(record)
        return record

    return load_once


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    live = _live(session.config)
    if live is not None:
        live.close()
        controller = session.config.stash.get(CONTROLLER, None)
        if controller is not None:
            live.run_ids += controller.run_ids
        _judge(session, live)


def _judge(session: pytest.Session, live: LivePhone) -> None:
    """Makes a session fail whose tests passed, if that was asked for."""
    from harness.pytest_plugin.judgement import JUDGE, JUDGED

    judge = session.config.stash.get(JUDGE, None)
    if judge is None or not live.run_ids:
        return
    judged = judge.judge(live.results, live.run_ids)
    if judged is None:
        return
    session.config.stash[JUDGED] = judged
    if judged.failing and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    live = _live(config)
    if live is None or not live.run_ids:
        return
    from harness.analysis.summary import counted
    from harness.report.run_pages import draw_after_run
    from harness.report.table import HEADINGS, summary_table
    from harness.store.database import ResultStore

    with ResultStore.open(live.results) as store:
        frame = store.frame(run_id=live.run_ids)
    drawn = counted(frame)
    if drawn.empty:
        return
    terminalreporter.section("loads")
    _write_table(terminalreporter, [HEADINGS, *(row.cells for row in summary_table(frame))])
    pages = draw_after_run(live.results, drawn["run_id"].iloc[-1])
    terminalreporter.write_line(f"this run alone: {pages.run_page}")
    terminalreporter.write_line(f"report: {pages.index}")
    _write_verdicts(terminalreporter, config)


def _write_verdicts(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from harness.pytest_plugin.judgement import JUDGED

    judged = config.stash.get(JUDGED, None)
    if judged is None:
        return
    terminalreporter.section("load verdicts")
    if len(judged.rows) > 1:
        _write_table(terminalreporter, judged.rows)
    for note in judged.notes:
        terminalreporter.write_line(printable(note))
    for words in judged.failing:
        terminalreporter.write_line(printable(f"FAILED {words}"), red=True)


def _write_table(terminalreporter: pytest.TerminalReporter, rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line(printable("  ".join(cells).rstrip()))
