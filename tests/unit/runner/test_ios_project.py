"""The iOS app's project: variants, ids, pins and keys agree with each other and with what the harness expects.

No Xcode here: what can be read is read, and the scripts run as far as they can without it.
"""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.core.job import Variant
from harness.runner.bundle import ABOUT_KEY, BUNDLE_ID, ENTITLEMENTS_FILE, EXECUTABLE, About, bundle_id_of, variant_of
from harness.runner.swift import PACKAGE_DIR

VARIANTS = set(Variant)
SCRIPTS = ("build-ipa.sh", "resign.sh", "typecheck-ios.sh", "check.sh")
WORKFLOW = PACKAGE_DIR.parent / ".github" / "workflows" / "ios-runner.yml"

# what XcodeGen's specification (Docs/ProjectSpec.md, 2.45) has; it ignores a misspelt key without a word
KNOWN_KEYS = {
    "project": {"name", "options", "configs", "settings", "packages", "targetTemplates", "targets"}
    | {"schemeTemplates", "schemes"},
    "options": {"minimumXcodeGenVersion", "deploymentTarget", "developmentLanguage", "defaultConfig"},
    "target": {"type", "platform", "templates", "requiresObjCLinking", "sources", "settings", "dependencies"}
    | {"postBuildScripts"},
    "source": {"path", "excludes"},
    "dependency": {"target", "package", "product"},
    "script": {"name", "script", "inputFiles", "outputFiles"},
    "scheme": {"build", "run", "test", "profile", "analyze", "archive", "templates", "templateAttributes"},
}


def load_yaml(path: Path) -> Any:
    return pytest.importorskip("yaml", reason="PyYAML is needed to read the project").safe_load(path.read_text())


@pytest.fixture
def project() -> Any:
    return load_yaml(PACKAGE_DIR / "project.yml")


@pytest.fixture
def info() -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads((PACKAGE_DIR / "App" / "Info.plist").read_bytes())
    return found


def test_every_variant_is_a_configuration_with_its_entitlements_and_a_scheme(project: Any) -> None:
    files = {path.stem: path for path in (PACKAGE_DIR / "App" / "Entitlements").iterdir()}
    assert set(files) == set(project["configs"]) == VARIANTS
    for name, path in files.items():
        assert variant_of(plistlib.loads(path.read_bytes())) == name
    assert set(project["configs"].values()) == {"release"}
    runner = project["targets"]["Runner"]["settings"]
    assert runner["CODE_SIGN_ENTITLEMENTS"] == "App/Entitlements/$(CONFIGURATION).entitlements"
    assert {name: scheme["templateAttributes"] for name, scheme in project["schemes"].items()} == {
        f"Runner {variant}": {"variant": variant} for variant in VARIANTS
    }
    # an action without a configuration would take a debug one, and there is none
    template = project["schemeTemplates"]["Variant"]
    assert {name: action for name, action in template.items() if name != "build"} == {
        name: {"config": "${variant}"} for name in ("run", "test", "profile", "analyze", "archive")
    }


def test_variants_are_other_apps_to_the_phone(project: Any) -> None:
    settings = project["settings"]
    ids = {
        name: BUNDLE_ID
        + settings["configs"][name].get("HARNESS_BUNDLE_SUFFIX", settings["base"]["HARNESS_BUNDLE_SUFFIX"])
        for name in VARIANTS
    }
    assert settings["base"]["HARNESS_BUNDLE_ID"] == BUNDLE_ID == ids[Variant.PLAIN]
    assert ids == {variant: bundle_id_of(variant) for variant in VARIANTS}
    assert len(set(ids.values())) == len(VARIANTS)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", bundle_id) for bundle_id in ids.values())
    assert len({settings["configs"][name]["HARNESS_DISPLAY_NAME"] for name in VARIANTS}) == len(VARIANTS)
    assert project["targets"]["Runner"]["settings"]["PRODUCT_NAME"] == EXECUTABLE
    assert settings["base"]["MARKETING_VERSION"] == harness.__version__


def test_the_project_has_only_keys_that_xcodegen_knows(project: Any) -> None:
    targets = [*project["targets"].values(), *project["targetTemplates"].values()]
    assert set(project) == KNOWN_KEYS["project"]
    assert set(project["options"]) <= KNOWN_KEYS["options"]
    for target in targets:
        assert set(target) <= KNOWN_KEYS["target"]
        for source in target.get("sources", []):
            assert isinstance(source, str) or set(source) <= KNOWN_KEYS["source"]
        for dependency in target.get("dependencies", []):
            assert set(dependency) <= KNOWN_KEYS["dependency"]
        for script in target.get("postBuildScripts", []):
            assert set(script) <= KNOWN_KEYS["script"]
    for scheme in [*project["schemes"].values(), *project["schemeTemplates"].values()]:
        assert set(scheme) <= KNOWN_KEYS["scheme"]


def test_the_project_compiles_what_the_type_check_checks(project: Any) -> None:
    listed = subprocess.run(
        [PACKAGE_DIR / "scripts" / "typecheck-ios.sh", "--list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = [f"Sources/{name}" for name, target in project["targets"].items() if "templates" in target]
    folders += [source["path"] for source in project["targets"]["Runner"]["sources"]]
    compiled = [path for folder in folders for path in (PACKAGE_DIR / folder).rglob("*.swift")]
    assert sorted(path.relative_to(PACKAGE_DIR).as_posix() for path in compiled) == sorted(listed)


def test_no_swift_file_is_checked_by_nobody() -> None:
    """What SwiftPM does not build on Linux, the type check must check; stubs and what only Xcode's tools read aside."""
    listed = subprocess.run(
        [PACKAGE_DIR / "scripts" / "typecheck-ios.sh", "--list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    manifest = (PACKAGE_DIR / "Package.swift").read_text()
    built = [f"Sources/{name}/" for name in re.findall(r'(?:executableTarget|\.target)\(name: "(\w+)"', manifest)]
    built += [f"Tests/{name}/" for name in re.findall(r'testTarget\(name: "(\w+)"', manifest)]
    built += [f"{path}/" for path in re.findall(r'path: "([^"]+)"', manifest)]
    others = ("Stubs/", "Package.swift", "LiteRTLM/Package.swift")
    everything = [
        path.relative_to(PACKAGE_DIR).as_posix() for path in PACKAGE_DIR.rglob("*.swift") if ".build" not in path.parts
    ]
    unchecked = [name for name in everything if not name.startswith((*built, *others)) and name not in listed]
    assert unchecked == []
    # wholly inside `#if canImport(Darwin)`: built on Linux, but empty there
    assert "Sources/RunnerCore/Memory/MemoryDarwin.swift" in listed


def test_info_plist_tells_what_the_harness_reads(info: dict[str, Any]) -> None:
    about = info[ABOUT_KEY]
    expected = About("swift", "ios", about["engines"], "$(HARNESS_COMMIT)").to_plist("$(CONFIGURATION)")
    assert about == expected
    assert info["CFBundleIdentifier"] == "$(PRODUCT_BUNDLE_IDENTIFIER)"
    assert info["CFBundleVersion"] == "$(CURRENT_PROJECT_VERSION)"
    assert info["CFBundleShortVersionString"] == "$(MARKETING_VERSION)"
    assert info["UIFileSharingEnabled"] is True
    assert info["LSSupportsOpeningDocumentsInPlace"] is True


def test_the_entitlements_come_into_the_bundle_under_the_name_that_is_read(project: Any) -> None:
    (script,) = project["targets"]["Runner"]["postBuildScripts"]
    assert script["outputFiles"][0].endswith(f"/{ENTITLEMENTS_FILE}")
    note = (PACKAGE_DIR / "App" / "BundleNote.swift").read_text()
    assert f'"{ENTITLEMENTS_FILE.removesuffix(".xcent")}"' in note
    assert f'"{ABOUT_KEY}"' in note


def test_pins_are_exact_and_what_the_app_says_it_has(info: dict[str, Any]) -> None:
    engines = info[ABOUT_KEY]["engines"]
    podfile = (PACKAGE_DIR / "Podfile").read_text()
    pods = dict(re.findall(r"pod '(\w+)', '([0-9.]+)'", podfile))
    assert pods == {"MediaPipeTasksGenAI": engines["mediapipe"], "MediaPipeTasksGenAIC": engines["mediapipe"]}
    assert set(re.findall(r"'([\w-]+)' => :release", podfile)) == VARIANTS
    package = (PACKAGE_DIR / "LiteRTLM" / "Package.swift").read_text()
    assert f"/releases/download/v{engines['litert_lm']}/" in package
    assert re.search(r'checksum: "[0-9a-f]{64}"', package)
    table = (PACKAGE_DIR / "Sources" / "RunnerEngines" / "LiteRTLMLibrary.swift").read_text()
    assert engines["litert_lm"].startswith(re.findall(r'supportedVersions = "([^"]+)"', table)[0])


def test_the_workflow_builds_with_the_script() -> None:
    workflow = load_yaml(WORKFLOW)
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    builds = [command for command in commands if "build-ipa.sh" in command]
    assert len(builds) == len(workflow["jobs"]) == 2
    for command in builds:
        assert (WORKFLOW.parents[2] / command.split()[0]).is_file()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_shell(name: str) -> None:
    script = PACKAGE_DIR / "scripts" / name
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_xcodegen_makes_the_project(tmp_path: Path) -> None:
    xcodegen = shutil.which("xcodegen")
    if xcodegen is None:
        pytest.skip("there is no xcodegen on the PATH")
    copy = tmp_path / "app"
    shutil.copytree(PACKAGE_DIR, copy, ignore=shutil.ignore_patterns(".build", "Pods"))
    # it names the schemes' files after the user, and asks the environment who that is
    environment = {"USER": "somebody", "LOGNAME": "somebody", **os.environ}
    subprocess.run([xcodegen, "generate", "--quiet"], cwd=copy, env=environment, check=True)
    made = (copy / "LoadRunner.xcodeproj" / "project.pbxproj").read_text()
    assert made.count('CODE_SIGN_ENTITLEMENTS = "App/Entitlements/$(CONFIGURATION).entitlements"') == len(VARIANTS)
    assert "StatusViewController.swift in Sources" in made
    assert "MediaPipeFake" not in made
