"""The entitlements to sign an app with: what its variant was built to have, as far as the profile allows it.

Usage: signing_entitlements.py PROFILE.plist APP [BUNDLE_ID]; writes a plist to stdout. Standard library only: it runs
wherever an app is signed.
"""

from __future__ import annotations

import plistlib
import sys
from pathlib import Path

BUILT_WITH = "archived-expanded-entitlements.xcent"
FROM_PROFILE = ("com.apple.developer.team-identifier", "get-task-allow")
APP_ID = "application-identifier"


class CannotSignError(Exception):
    """The profile does not fit the app; the message says what is missing."""


def signing_entitlements(profile: dict[str, object], wanted: dict[str, object], bundle_id: str) -> dict[str, object]:
    """Entitlements for the app ``bundle_id``. Raises CannotSignError when the profile lacks one that is ``wanted``."""
    allowed = profile.get("Entitlements")
    if not isinstance(allowed, dict):
        raise CannotSignError("the profile names no entitlements")
    lacking = sorted(name for name, value in wanted.items() if value and not allowed.get(name))
    if lacking:
        raise CannotSignError(
            f"the profile does not allow {', '.join(lacking)}: switch the capability on for this app id in the "
            "developer portal, and make the profile anew"
        )
    app_id = str(allowed.get(APP_ID, ""))
    team, _, pattern = app_id.partition(".")
    if pattern != bundle_id and not (pattern.endswith("*") and bundle_id.startswith(pattern[:-1])):
        raise CannotSignError(f"the profile is for {pattern or 'no app'}, the app is {bundle_id}: pass --bundle-id")
    kept = {name: allowed[name] for name in FROM_PROFILE if name in allowed}
    return {APP_ID: f"{team}.{bundle_id}", **kept, **wanted}


def main(arguments: list[str]) -> int:
    """Read the files, write the plist. Returns the exit code."""
    try:
        profile = plistlib.loads(Path(arguments[0]).read_bytes())
        app = Path(arguments[1])
        wanted = plistlib.loads((app / BUILT_WITH).read_bytes())
        info = plistlib.loads((app / "Info.plist").read_bytes())
        bundle_id = arguments[2] if len(arguments) > 2 and arguments[2] else info["CFBundleIdentifier"]
        entitlements = signing_entitlements(profile, wanted, bundle_id)
    except (CannotSignError, OSError, plistlib.InvalidFileException) as error:
        sys.stderr.write(f"signing_entitlements.py: {error}\n")
        return 2
    sys.stdout.buffer.write(plistlib.dumps(entitlements))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
