"""Who may ask the server, and for what: before anything is looked up."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from harness.report.serve_target import Refused, check_asker, parts_of


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/", ()),
        ("/live", ("live",)),
        ("/report/", ("report",)),
        ("/report/trials/a.html?x=/../..", ("report", "trials", "a.html")),
        ("/artifacts/a/crash%20of%20%C3%A9.ips", ("artifacts", "a", "crash of é.ips")),
        ("/artifacts/a/100%2525", ("artifacts", "a", "100%25")),
    ],
)
def test_a_path_is_its_names(target: str, parts: tuple[str, ...]) -> None:
    assert parts_of(target) == parts


@pytest.mark.parametrize(
    "target",
    [
        "/../runs.db",
        "/report/../runs.db",
        "/report/%2e%2e/runs.db",
        "/report/%2E./runs.db",
        "/report/..%2fruns.db",
        "/report%2f..%2fruns.db",
        "/report/..%5cruns.db",
        "/report/a\\b",
        "/report/a%00.html",
        "/report/%0d%0aSet-Cookie:x",
        "/report/%ff.html",
        "/report//index.html",
        "/./live",
        "//evil.example/report",
        "http://evil.example/",
        "*",
        "",
        "/live#x",
        "/" + "a" * 3_000,
        "/" + "a/" * 30,
    ],
)
def test_whatever_is_no_plain_path_is_refused(target: str) -> None:
    with pytest.raises(Refused):
        parts_of(target)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", " LocalHost:8000 "])
def test_the_server_answers_to_its_own_names(host: str) -> None:
    check_asker({"Sec-Fetch-Site": "same-origin"}, [host], 8000)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["evil.example:8000"],
        ["127.0.0.1"],
        ["127.0.0.1:8001"],
        ["127.0.0.1:8000", "evil.example"],
        ["127.0.0.1:8000.evil.example"],
        ["0.0.0.0:8000"],
        ["[::1]:8000"],
    ],
)
def test_a_name_that_was_pointed_here_is_refused(hosts: list[str]) -> None:
    with pytest.raises(Refused):
        check_asker({}, hosts, 8000)


def test_another_sites_page_may_link_here_and_not_ask_in_the_background() -> None:
    own = ["127.0.0.1:8000"]
    check_asker({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, own, 8000)
    for site in ("cross-site", "same-site"):
        with pytest.raises(Refused) as told:
            check_asker({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}, own, 8000)
        assert told.value.status is HTTPStatus.FORBIDDEN
