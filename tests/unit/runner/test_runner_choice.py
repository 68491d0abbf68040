"""Which app a case gets: built for its variant, taken from the files given, or refused before anything is done."""

from __future__ import annotations

import plistlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.core.phone import PhoneKind
from harness.runner.build import build_ipa
from harness.runner.bundle import ABOUT_KEY
from harness.runner.choice import RunnerChoice, parse_runner
from harness.runner.package import show_ipa

Ipa = Callable[[Variant], str]

COMPILER = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "Swift version 6.3"; exit 0; fi
while [ $# -gt 0 ]; do [ "$1" = --scratch-path ] && scratch=$2; shift; done
mkdir -p "$scratch/release" && echo executable > "$scratch/release/RunnerLinux"
"""


@pytest.fixture
def ipa(tmp_path: Path) -> Ipa:
    """`ipa(variant)`: the path of such an app."""
    return lambda variant: str(build_ipa(tmp_path / "apps", variant=variant).path)


@pytest.fixture
def swift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `swift` on the PATH that compiles at once, and an empty cache folder."""
    command = tmp_path / "toolchain" / "swift"
    command.parent.mkdir()
    command.write_text(COMPILER)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def chosen(choice: RunnerChoice, variant: Variant | None) -> Variant:
    return choice.choose(variant, PhoneKind.VIRTUAL).variant


def other_ipa(path: Path, bundle_id: str, variant: str) -> str:
    info = {"CFBundleIdentifier": bundle_id, "CFBundleVersion": "7", "CFBundleShortVersionString": "1.7"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Payload/Other.app/Info.plist", plistlib.dumps({**info, ABOUT_KEY: {"variant": variant}}))
    return str(path)


@pytest.mark.usefixtures("swift")
@pytest.mark.parametrize(("edition", "runner"), [("auto", "python"), ("python", "python"), ("swift", "swift")])
def test_an_edition_is_built_in_the_variant_asked_for(edition: str, runner: str) -> None:
    choice = parse_runner([edition])
    choice.check([None, *Variant])
    for variant in (None, *Variant):
        app = choice.choose(variant, PhoneKind.VIRTUAL)
        facts = show_ipa(app.path)
        assert (app.variant, facts.variant, facts.runner) == (variant or "plain", variant or "plain", runner)


@pytest.mark.parametrize("edition", ["auto", "python", "swift"])
def test_a_physical_phone_needs_a_signed_app(edition: str) -> None:
    with pytest.raises(UsageError, match="signed"):
        parse_runner([edition]).choose(None, PhoneKind.PHYSICAL)


def test_a_physical_phone_gets_the_file_given(ipa: Ipa) -> None:
    path = ipa(Variant.BOTH)
    assert str(parse_runner([path]).choose(Variant.BOTH, PhoneKind.PHYSICAL).path) == path


def test_of_several_files_each_variant_gets_its_own(ipa: Ipa) -> None:
    choice = parse_runner([ipa(Variant.BOTH), ipa(Variant.PLAIN), ipa(Variant.INCREASED_LIMIT)])
    there = (Variant.PLAIN, Variant.INCREASED_LIMIT, Variant.BOTH)
    choice.check([None, *there])
    assert tuple(chosen(choice, variant) for variant in there) == there
    assert chosen(choice, None) == "plain", "who names none gets the plain one"


@pytest.mark.parametrize("variant", Variant)
def test_who_names_no_variant_gets_the_only_file(ipa: Ipa, variant: Variant) -> None:
    choice = parse_runner([ipa(variant)])
    choice.check([None])
    assert chosen(choice, None) is variant


@pytest.mark.parametrize("asked", [Variant.PLAIN, Variant.INCREASED_LIMIT])
def test_a_variant_that_no_file_is_is_refused_with_what_there_is_and_the_remedy(ipa: Ipa, asked: Variant) -> None:
    both = ipa(Variant.BOTH)
    choice = parse_runner([both, ipa(Variant.EXTENDED_ADDRESSING)])
    for refused in (lambda: choice.check([Variant.BOTH, asked]), lambda: choice.choose(asked, PhoneKind.VIRTUAL)):
        with pytest.raises(UsageError) as told:
            refused()
        for words in (f"the variant {asked} ", f"both ({both})", "extended-addressing (", f"--variant {asked}"):
            assert words in str(told.value)


def test_several_files_none_of_them_plain_and_no_variant_named_is_refused(ipa: Ipa) -> None:
    choice = parse_runner([ipa(Variant.BOTH), ipa(Variant.EXTENDED_ADDRESSING)])
    with pytest.raises(UsageError, match=r"names no variant .* takes the plain one"):
        choice.check([None])


def test_two_files_of_one_variant_are_refused(ipa: Ipa, tmp_path: Path) -> None:
    other = other_ipa(tmp_path / "other.ipa", "com.example.runner", "both")
    with pytest.raises(UsageError, match=r"other\.ipa: it is both as .*Runner-both\.ipa is"):
        parse_runner([ipa(Variant.BOTH), other])


def test_two_variants_with_one_bundle_id_are_refused(tmp_path: Path) -> None:
    words = [other_ipa(tmp_path / f"{variant}.ipa", "com.example.runner", variant) for variant in ("plain", "both")]
    with pytest.raises(UsageError, match=r"both\.ipa: its bundle id com\.example\.runner is that of .*plain\.ipa"):
        parse_runner(words)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rust"], "'rust'"),
        (["auto", "python"], "alone"),
        (["python", "both.ipa"], "alone"),
        (["absent.ipa"], "absent.ipa: cannot be read"),
        ([], "no runner"),
    ],
)
def test_other_words_are_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_runner(words)


def test_a_variant_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"variant 'huge\\u2026'; there are plain, "):
        parse_runner([other_ipa(tmp_path / "huge.ipa", "com.example.runner", "huge…")])
