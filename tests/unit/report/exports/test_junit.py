"""JUnit XML: read back, held against what pytest itself writes and against the rules of Jenkins' schema."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord
from harness.pytest_plugin.items import PROPERTIES
from harness.report.exports.junit import MAX_TEXT_CHARS, junit_xml
from tests.kept_trials import a_trial

SUREFIRE_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")
"""A suite's time, as junit-10.xsd of Jenkins' xunit plugin wants it."""


def suites(*records: TrialRecord) -> list[ET.Element]:
    root = ET.fromstring(junit_xml(records))
    assert root.tag == "testsuites"
    return list(root)


def case_of(record: TrialRecord) -> ET.Element:
    ((case,),) = suites(record)
    return case


def told(case: ET.Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in case.iterfind("properties/property")}


def test_a_trial_is_a_test_case_with_its_columns_as_properties() -> None:
    case = case_of(a_trial(load_ns=5, decode_tokens_per_s=12.5, low_power=False, reason="ok"))
    assert case.attrib == {
        "classname": "made-up.iPhone17,1 (virtual)",
        "name": "tiny/cpu#1",
        "time": "2.000",
    }
    properties = told(case)
    assert properties["load_ns"] == "5"
    assert properties["decode_tokens_per_s"] == "12.5"
    assert properties["low_power"] == "false"
    assert properties["device_kind"] == "virtual"
    assert "ttft_ns" not in properties
    assert "device_settings" not in properties
    assert [child.tag for child in case] == ["properties"]


def test_it_has_the_properties_that_the_pytest_plugin_writes() -> None:
    values: dict[str, Any] = {name: 1 if name.endswith(("_ns", "_bytes", "_s")) else "loaded" for name in PROPERTIES}
    record = a_trial(**values)
    assert set(PROPERTIES) <= set(told(case_of(record)))


@pytest.mark.parametrize(
    ("outcome", "expected", "limits", "tag"),
    [
        ("loaded", "loaded", None, None),
        ("jetsam", "jetsam", "", None),
        ("jetsam", "loaded", None, "failure"),
        ("loaded", "jetsam", None, "failure"),
        ("loaded", "loaded", "load_ns 5 > 4", "failure"),
        ("lost", "loaded", None, "error"),
        ("harness_error", "loaded", None, "error"),
        ("unknown", "loaded", None, "error"),
    ],
)
def test_what_fails_is_about_the_model_and_the_rest_an_error(
    outcome: str, expected: str, limits: str | None, tag: str | None
) -> None:
    evidence = (Evidence(EvidenceKind.STDERR, "last words"),)
    record = a_trial(
        outcome=outcome, expected_outcome=expected, broken_limits=limits, reason="because", evidence=evidence
    )
    (suite,) = suites(record)
    problems = [child for child in suite[0] if child.tag != "properties"]
    assert [one.tag for one in problems] == ([] if tag is None else [tag])
    assert suite.attrib["failures"] == str(int(tag == "failure"))
    assert suite.attrib["errors"] == str(int(tag == "error"))
    for one in problems:
        assert "last words" in (one.text or "")
        assert (limits or "because") in one.attrib["message"]


def test_a_suite_for_each_run_and_phone_without_what_does_not_count() -> None:
    found = suites(
        a_trial("1", run_id="b", started_at="2026-11-22T03:00:00.000+00:00"),
        a_trial("2", run_id="a", started_at="2026-11-22T02:00:00.000+00:00", host_name="mac"),
        a_trial("3", run_id="a", started_at="2026-11-22T02:00:00.000+00:00", ordinal=2, device_udid="other"),
        a_trial("4", run_id="a", ordinal=0),
        a_trial("5", run_id="a", arm="a"),
        a_trial("6", run_id="a", ordinal=2, device_udid="other", attempt=0, cut_short=True),
        a_trial("7", run_id="a", ordinal=2, device_udid="other", attempt=2, cut_short=True),
    )
    assert [(one.attrib["tests"], one.attrib.get("hostname"), len(one)) for one in found] == [
        ("1", "mac", 1),
        ("1", None, 1),
        ("1", None, 1),
    ]
    for one in found:
        assert SUREFIRE_TIME.fullmatch(one.attrib["time"])
        assert {"name", "tests", "failures", "errors", "skipped"} <= set(one.attrib)


def test_hostile_text_stays_text() -> None:
    hostile = "</testcase><script>\x00\x1b[31m\ud800 ]]> \"'&"
    case = case_of(a_trial(case=hostile, outcome="jetsam", reason=hostile + "x" * 10_000, model_file=hostile))
    assert "</testcase><script>" in case.attrib["name"]
    assert case.attrib["name"].isprintable()
    failure = case.find("failure")
    assert failure is not None
    assert len(failure.attrib["message"]) < MAX_TEXT_CHARS + 100
    assert "more characters" in failure.attrib["message"]
    assert told(case)["model_file"].startswith("</testcase><script>")


def test_pytest_itself_writes_this_shape(pytester: pytest.Pytester) -> None:
    """Elements, where they are, and the attributes of each: ours are among those of `junit_family=xunit1`."""
    pytester.makepyfile("def test_it(record_property):\n    record_property('a', 1)\n    assert False\n")
    pytester.runpytest_inprocess("--junitxml=theirs.xml", "-o", "junit_family=xunit1", "-p", "no:cacheprovider")
    theirs = shape(ET.parse(pytester.path / "theirs.xml").getroot())
    ours = shape(ET.fromstring(junit_xml([a_trial(outcome="jetsam", host_name="mac")])))
    for place, attributes in ours.items():
        # the type of a failure is of the JUnit of old; pytest leaves it out
        assert attributes - {"type"} <= theirs[place]


def shape(element: ET.Element, path: str = "") -> dict[str, set[str]]:
    place = f"{path}/{element.tag}"
    found = {place: set(element.attrib)}
    for child in element:
        for inner, attributes in shape(child, place).items():
            found.setdefault(inner, set()).update(attributes)
    return found


@pytest.mark.parametrize("at", ["last \x01 night", "", "2026-11-22T16:06:57"])
def test_a_time_of_another_program_is_text(at: str) -> None:
    record = a_trial(started_at=at)
    (suite,) = suites(record)
    assert suite.attrib["timestamp"] == at.replace("\x01", "\N{REPLACEMENT CHARACTER}")
    assert ("time" in case_of(record).attrib) == at.startswith("2026")
