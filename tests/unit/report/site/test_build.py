"""A site's folder comes to hold exactly the pages that are wanted, and draws no more than it must."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.report.site.build import MANIFEST, write_pages
from harness.report.site.pages import Page
from harness.store.errors import StoreError


def plain(content: str) -> str:
    return f"<p>{content}</p>"


def failing(content: str) -> str:
    raise RuntimeError(content)


def pages(*names: str, content: str = "a") -> list[Page]:
    return [Page(name, f"{name} {content}", plain) for name in names]


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {MANIFEST, ".lock"}


def test_only_what_changed_is_drawn_and_what_is_no_more_goes(tmp_path: Path) -> None:
    names = [f"series/{number}.html" for number in range(12)]
    first = write_pages(pages("index.html", *names), tmp_path)
    assert len(first.drawn) == 13
    before = (tmp_path / MANIFEST).read_bytes()
    again = write_pages(pages("index.html", *names), tmp_path)
    assert (again.drawn, again.removed, len(again.kept)) == ((), (), 13)
    assert (tmp_path / MANIFEST).read_bytes() == before
    then = write_pages([*pages("index.html", content="b"), *pages(*names[1:])], tmp_path)
    assert (then.drawn, then.removed) == (("index.html",), (names[0],))
    assert (tmp_path / "index.html").read_text() == "<p>index.html b</p>"
    assert files(tmp_path) == {"index.html", *names[1:]}


def test_many_pages_are_drawn_by_other_processes_alike(tmp_path: Path) -> None:
    names = ["index.html", *(f"series/{number}.html" for number in range(40))]
    write_pages(pages(*names), tmp_path / "alone", processes=1)
    build = write_pages(pages(*names), tmp_path / "many", processes=2)
    assert sorted(build.drawn) == sorted(names)
    for name in (*names, MANIFEST):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_what_fails_in_another_process_is_told_and_made_good(tmp_path: Path) -> None:
    names = [f"series/{number}.html" for number in range(40)]
    wanted = [*pages(*names[:30]), Page("trials/x.html", "boom", failing), *pages(*names[30:])]
    with pytest.raises(RuntimeError, match="boom"):
        write_pages(wanted, tmp_path)
    assert set(write_pages(pages(*names), tmp_path).drawn) == set(names)
    assert files(tmp_path) == set(names)


def test_a_file_that_is_gone_is_drawn_again(tmp_path: Path) -> None:
    write_pages(pages("index.html", "trials/a.html"), tmp_path)
    (tmp_path / "trials/a.html").unlink()
    assert write_pages(pages("index.html", "trials/a.html"), tmp_path).drawn == ("trials/a.html",)


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "CNAME").write_text("loads.example")
    write_pages(pages("index.html"), tmp_path)
    write_pages([], tmp_path)
    assert files(tmp_path) == {"CNAME"}


def test_a_build_that_was_cut_short_is_made_good_by_the_next(tmp_path: Path) -> None:
    write_pages(pages("index.html", "trials/old.html"), tmp_path)
    with pytest.raises(RuntimeError):
        write_pages([*pages("index.html", content="b"), Page("trials/x.html", "boom", failing)], tmp_path)
    assert (tmp_path / "trials/old.html").is_file()
    write_pages(pages("index.html"), tmp_path)
    assert (tmp_path / "index.html").read_text() == "<p>index.html a</p>", "it had been drawn from something else"
    assert files(tmp_path) == {"index.html"}


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"index.html": 1}',
        json.dumps({"../victim": "x", "/etc/victim": "x", "runs/a.txt": "x", "series/\0.html": "x", "": "x"}).encode(),
    ],
)
def test_a_manifest_that_makes_no_sense_is_as_none(tmp_path: Path, manifest: bytes) -> None:
    site, victim = tmp_path / "site", tmp_path / "victim"
    site.mkdir()
    victim.write_text("stays")
    (site / MANIFEST).write_bytes(manifest)
    (site / "runs").mkdir()
    (site / "runs" / "a.txt").write_text("stays, too")
    assert write_pages(pages("index.html"), site).drawn == ("index.html",)
    assert victim.read_text() == "stays"
    assert (site / "runs" / "a.txt").read_text() == "stays, too"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    site, victim = tmp_path / "site", tmp_path / "victim"
    site.mkdir()
    victim.write_text("stays")
    (site / "index.html.part").symlink_to(victim)
    write_pages(pages("index.html"), site)
    assert victim.read_text() == "stays"
    assert not (site / "index.html").is_symlink()
    (site / "series").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a link"):
        write_pages(pages("index.html", "series/a.html"), site)
    assert not (tmp_path / "a.html").exists()


def test_two_builds_at_once_leave_one_whole_site(tmp_path: Path) -> None:
    names = [f"{number}.html" for number in range(6)]
    with ThreadPoolExecutor(4) as pool:
        builds = [pool.submit(write_pages, pages(*names, content=str(n)), tmp_path) for n in range(8)]
        for build in builds:
            build.result()
    texts = {(tmp_path / name).read_text().split()[1] for name in names}
    assert len(texts) == 1
    assert files(tmp_path) == set(names)
