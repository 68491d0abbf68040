"""Profiles, settings and homes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from harness.core.units import parse_bytes
from harness.virtual.availability import CORE_DEVICE_PROXY, DVT_SECURE_SOCKET_PROXY, is_offered
from harness.virtual.catalogue import catalogue, read_catalogue, shipped
from harness.virtual.home import HomeTaken, open_home
from harness.virtual.profiles import SETTINGS, UDID, BadProfile, make_state, parse_settings, profile_names
from harness.virtual.state import EXTENDED_VIRTUAL_ADDRESSING, INCREASED_MEMORY_LIMIT, MemoryLimits, Thermal, Trust

MIB = 1 << 20
TEXT = resources.files("harness.virtual").joinpath("profiles.toml").read_text(encoding="utf-8")


def test_every_profile_makes_a_phone_on_each_of_its_systems(tmp_path: Path) -> None:
    product_types = set()
    for name in profile_names():
        profile = catalogue()[name]
        product_types.add(profile.product_type)
        for version in profile.versions:
            state = make_state(name, {"ios": version}, tmp_path, "x")
            assert UDID.fullmatch(state.udid)
            assert int(state.udid.partition("-")[2], 16) == state.ecid
            assert state.footprint_limit_bytes <= state.footprint_limit_increased_bytes < state.ram_bytes
            assert state.allocation_limit_bytes < state.allocation_limit_extended_bytes
            assert state.kernel.endswith(f"T{state.chip_id:04X}")
    assert len(product_types) == len(profile_names()), "two profiles are one phone"


def test_the_catalogue_reaches_from_xr_to_17_and_air() -> None:
    assert {"iphone-xr", "iphone-17", "iphone-17-pro-max", "iphone-air"} <= set(profile_names())
    assert list(catalogue()["iphone-xr"].versions)[-1].startswith("18."), "no iOS 26 for the XR"
    assert {version.partition(".")[0] for version in catalogue()["iphone-air"].versions} == {"26"}
    assert {"16.7", "17.0", "17.4", "18.5", "26.0"} <= set(catalogue()["iphone-13"].versions)


def test_every_value_names_its_source() -> None:
    needed = {"marketing_name", "product_type", "chip_id", "ram", "footprint_limit", "footprint_limit_increased"}
    needed |= {"allocation_limit", "allocation_limit_extended", "ios_min", "ios_max", "hardware_model"}
    for profile in catalogue().values():
        assert needed <= set(profile.sources)
    # what was reported of this phone, and what its class lends another
    assert catalogue()["iphone-16-pro"].sources["footprint_limit"] == "observed"
    assert catalogue()["iphone-16"].sources["footprint_limit"] == "assumed"


def test_the_file_that_every_phone_starts_with_is_as_it_must_be() -> None:
    assert read_catalogue(shipped()) == catalogue()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"iPhone11,8", "N841AP"', '"iPhone11,8"'),
        ('"iPhone11,8"', '"Phone11,8"'),
        ('"3GiB",  "16.0", "18", [ 828', '"5GiB",  "16.0", "18", [ 828'),
        ('"3GiB",  "16.0", "18", [ 828', '"3GiB",  "15.0", "18", [ 828'),
        ('build = "22F76"', 'build = "newest"'),
        ('chip_id            = "irecv_devices"', 'chip_id            = "my memory"'),
        ("[reported.iphone-xr]", "[reported.iphone-xx]"),
        ("[common]", "[common]\nflavour = 1"),
        ('ram                       = { value = "3GiB"', 'ram                       = { value = "4GiB"'),
    ],
)
def test_a_mistake_in_the_file_is_found(before: str, after: str) -> None:
    assert before in TEXT
    with pytest.raises(ValueError, match=r"."):
        read_catalogue(TEXT.replace(before, after))


def test_settings_change_what_they_name(tmp_path: Path) -> None:
    words = ["ios=18.4", "seed=7", "trust=pending", "thermal=serious", "battery=41", "battery_celsius=33.5"]
    words += ["low_power=true", "disk_free=64MiB", "developer_mode=false", "developer_image=missing", "charging=false"]
    state = make_state("iphone-16-pro", parse_settings(words), tmp_path, "x")
    assert (state.os_version, state.os_build) == ("18.4", "22E240")
    assert (state.trust, state.thermal, state.low_power) == (Trust.PENDING, Thermal.SERIOUS, True)
    assert (state.battery.percent, state.battery.temperature_celsius, state.battery.charging) == (41, 33.5, False)
    assert (state.disk_budget_bytes, state.developer_mode, state.developer_image_mounted) == (64 * MIB, False, False)
    assert state.udid == make_state("iphone-16-pro", {"seed": "7"}, tmp_path, "y").udid
    assert state.udid != make_state("iphone-16-pro", {}, tmp_path, "x").udid


@pytest.mark.parametrize(("ios", "version"), [("16", "16.7"), ("17", "17.5"), ("26", "26.2"), ("17.0", "17.0")])
def test_a_major_version_is_its_newest(ios: str, version: str, tmp_path: Path) -> None:
    assert make_state("iphone-13", {"ios": ios}, tmp_path, "x").os_version == version


def limits(settings: dict[str, str], *entitlements: str, profile: str = "iphone-16-pro") -> MemoryLimits:
    state = make_state(profile, settings, Path("/nonexistent"), "x")
    return state.limits_for(dict.fromkeys(entitlements, True))


def test_limits_follow_the_entitlements() -> None:
    plain, extended = limits({}), limits({}, EXTENDED_VIRTUAL_ADDRESSING)
    increased = limits({}, INCREASED_MEMORY_LIMIT)
    assert plain == MemoryLimits(3376 * MIB, 7552 * MIB)
    assert extended == MemoryLimits(3376 * MIB, parse_bytes("63GiB"))
    assert increased == MemoryLimits(6144 * MIB, parse_bytes("63GiB")), "since iOS 16 it grants both"
    assert limits({}, "get-task-allow") == plain


def test_a_limit_that_is_set_holds_for_every_app() -> None:
    both = INCREASED_MEMORY_LIMIT, EXTENDED_VIRTUAL_ADDRESSING
    settings = {"footprint_limit": "90MiB", "allocation_limit": "150MiB"}
    assert limits(settings, *both) == limits(settings) == MemoryLimits(90 * MIB, 150 * MIB)
    settings |= {"footprint_limit_increased": "120MiB", "allocation_limit_extended": "4GiB"}
    assert limits(settings) == MemoryLimits(90 * MIB, 150 * MIB)
    assert limits(settings, *both) == MemoryLimits(120 * MIB, parse_bytes("4GiB"))


@pytest.mark.parametrize(
    ("ios", "developer", "offered"),
    [
        ("16.7", {}, {DVT_SECURE_SOCKET_PROXY}),
        ("16.7", {"developer_mode": "false"}, set()),
        ("16.7", {"developer_image": "missing"}, set()),
        ("17.0", {}, set()),
        ("17.3", {}, set()),
        ("17.4", {}, {CORE_DEVICE_PROXY}),
        ("26.0", {}, {CORE_DEVICE_PROXY}),
    ],
)
def test_developer_services_depend_on_the_system(
    ios: str, developer: dict[str, str], offered: set[str], tmp_path: Path
) -> None:
    state = make_state("iphone-13", {"ios": ios, **developer}, tmp_path, "x")
    assert {name for name in (CORE_DEVICE_PROXY, DVT_SECURE_SOCKET_PROXY) if is_offered(name, state)} == offered
    assert is_offered("com.apple.afc", state)


@pytest.mark.parametrize("words", [["ios"], ["nothing=1"], ["seed=1", "seed=2"]])
def test_wrong_settings_are_refused(words: list[str]) -> None:
    with pytest.raises(BadProfile):
        parse_settings(words)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("footprint_limit", "0B"),
        ("allocation_limit", "much"),
        ("udid", "me"),
        ("ios", "15.0"),
        ("thermal", "hot"),
        ("battery", "101"),
        ("battery", "nan"),
        ("battery_celsius", "1e2"),
        ("low_power", "yes"),
        ("trust", ""),
        ("developer_image", "true"),
        ("connection", "bluetooth"),
        ("gpu", "true"),
        ("seed", ""),
    ],
)
def test_wrong_values_are_refused_by_name(key: str, value: str, tmp_path: Path) -> None:
    assert key in SETTINGS
    with pytest.raises(BadProfile, match=key):
        make_state("iphone-16-pro", {key: value}, tmp_path, "x")


def test_two_phones_at_once_take_two_slots_and_a_freed_one_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = open_home("iphone-16-pro", None), open_home("iphone-16-pro", None)
    assert first.path != second.path
    assert first.identity != second.identity
    with pytest.raises(HomeTaken, match="--home"):
        open_home("iphone-16-pro", first.path)
    first.release()
    again = open_home("iphone-16-pro", None)
    assert (again.path, again.identity) == (first.path, first.identity)
    again.release()
    second.release()
