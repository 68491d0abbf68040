"""JUnit XML, the shape that pytest calls xunit1: a trial is a test case, and what is known of it are its properties.

Properties of a test case are no part of Jenkins' old schema (junit-10.xsd of its xunit plugin), and yet are what pytest
writes, and Jenkins' junit plugin, GitLab and junitparser read; without them the file is valid by that schema.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree as ET

from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord, TrialState, is_demo, record_columns
from harness.core.text import printable
from harness.report.exports.newest import DEMO, bounded, counted, moment

MAX_TEXT_CHARS = 4_000
"""Of one property or message; the record has the whole."""
_NO_PROPERTY = ("state", "host_pid")
_PROPERTIES = tuple(field.name for field in record_columns() if field.name not in _NO_PROPERTY)


def junit_xml(records: Iterable[TrialRecord]) -> bytes:
    """The trials that count; a test suite for each run and phone, in order of time.

    A trial that did not end as expected, or broke a limit, is a failure; one that the phone or the host was in the way
    of is an error: it says nothing about the model.
    """
    groups: dict[tuple[str, str, str], list[TrialRecord]] = {}
    for one in sorted(counted(records), key=lambda one: (one.started_at, one.trial_id)):
        groups.setdefault((one.run_id, one.suite, one.device_udid), []).append(one)
    root = ET.Element("testsuites")
    for trials in groups.values():
        root.append(_suite(trials))
    ET.indent(root)
    out = io.BytesIO()
    ET.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue() + b"\n"


def _suite(trials: Sequence[TrialRecord]) -> ET.Element:
    first = trials[0]
    cases = [_case(one) for one in trials]
    counts = {f"{tag}s": sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error")}
    lasted = [length for one in trials if (length := _seconds(one)) is not None]
    attributes = {
        "name": bounded(f"{first.suite} on {_device(first)}", MAX_TEXT_CHARS),
        "tests": str(len(trials)),
        "failures": str(counts["failures"]),
        "errors": str(counts["errors"]),
        "skipped": "0",
        "time": f"{sum(lasted):.3f}",
        "timestamp": _text(first.started_at),
    }
    if first.host_name:
        attributes["hostname"] = _text(first.host_name)
    suite = ET.Element("testsuite", attributes)
    suite.extend(cases)
    return suite


def _case(record: TrialRecord) -> ET.Element:
    attributes = {
        "classname": bounded(f"{record.suite.replace('.', '_')}.{_device(record)}", MAX_TEXT_CHARS),
        "name": bounded(f"{record.case}#{record.ordinal}", MAX_TEXT_CHARS),
    }
    if (lasted := _seconds(record)) is not None:
        attributes["time"] = f"{lasted:.3f}"
    case = ET.Element("testcase", attributes)
    properties = ET.SubElement(case, "properties")
    for name, value in _properties(record):
        ET.SubElement(properties, "property", name=name, value=value)
    problem = _problem(record)
    if problem is not None:
        tag, kind, message = problem
        ET.SubElement(case, tag, type=kind, message=_text(message)).text = _text("\n".join(_told(record)))
    return case


def _properties(record: TrialRecord) -> Iterator[tuple[str, str]]:
    """Every plain column that has a value; lists and objects are in the other exports."""
    for name in _PROPERTIES:
        value = getattr(record, name)
        if isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, int | float):
            yield name, repr(value)
        elif isinstance(value, str) and value:
            yield name, _text(value)


def _problem(record: TrialRecord) -> tuple[str, str, str] | None:
    """Tag, type and message; None: it ended as it should."""
    assert record.state == TrialState.DONE.value
    ended = record.outcome or Outcome.UNKNOWN.value
    if ended == record.expected_outcome:
        return ("failure", "broken_limit", f"over the limits: {record.broken_limits}") if record.broken_limits else None
    tag = "error" if record.outcome_family in (Family.DEVICE.value, Family.HOST.value, None) else "failure"
    return tag, _text(ended), f"{ended}, expected {record.expected_outcome}: {record.reason or 'no reason was kept'}"


def _told(record: TrialRecord) -> Iterator[str]:
    if record.reason:
        yield record.reason
    for item in record.evidence:
        yield f"{'decisive ' if item.decisive else ''}{item.kind}: {item.text}"


def _device(record: TrialRecord) -> str:
    """`iPhone17,1 (virtual)`; a dot would be taken for a package's."""
    marks = [DEMO] if is_demo(record.origin) else []
    marks += [record.device_kind] if record.device_kind == "virtual" else []
    told = f"{record.device_product_type} ({', '.join(marks)})" if marks else record.device_product_type
    return told.replace(".", "_")


def _seconds(record: TrialRecord) -> float | None:
    begun, ended = moment(record.started_at), moment(record.finished_at)
    return None if begun is None or ended is None else max(0.0, (ended - begun).total_seconds())


def _text(text: str) -> str:
    """XML has no way to write most control characters, not even as entities."""
    plain = printable(text).replace("\t", " ")
    more = len(plain) - MAX_TEXT_CHARS
    return plain if more <= 0 else f"{plain[:MAX_TEXT_CHARS]}… ({more} more characters)"
