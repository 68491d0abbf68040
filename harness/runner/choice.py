"""Which runner app a trial runs in: one built here for the variant that its case asks for, or that variant's `.ipa`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.core.phone import PhoneKind
from harness.runner.bundle import BuiltRunner, bundle_id_of
from harness.runner.package import cached_ipa, cached_swift_ipa, read_ipa
from harness.runner.swift import Step

EDITIONS = ("auto", "python", "swift")
_PHYSICAL_NEEDS_SIGNED = (
    "a physical iPhone runs only a signed app: give its path (--runner or --load-runner PATH.ipa); "
    "see docs/real-iphone.md"
)


@dataclass(frozen=True)
class RunnerChoice:
    """What `--runner` says: an edition that is built here in any variant, or finished apps. `parse_runner` makes one.

    A case that asks for no variant (`None` below) takes the plain app, or the only file given, whatever its variant.
    """

    edition: str | None
    ipas: tuple[BuiltRunner, ...] = ()
    """One a variant."""

    def check(self, variants: Iterable[Variant | None]) -> None:
        """Raises UsageError for a variant that none of the files is."""
        if self.edition is None:
            for variant in variants:
                self._given(variant)

    def choose(
        self, variant: Variant | None, kind: PhoneKind, step: Step = lambda what, done, total: None
    ) -> BuiltRunner:
        """The app to run. Raises UsageError when there is none for this phone, BuildError when it cannot be built.

        `auto` is the Python runner on a virtual phone, also where a Swift toolchain or an earlier build of it is at
        hand: the same command must measure with the same app everywhere. `swift` builds when need be (`step` hears of
        it).
        """
        if self.edition is None:
            return self._given(variant)
        if kind is not PhoneKind.VIRTUAL:
            raise UsageError(_PHYSICAL_NEEDS_SIGNED)
        built = variant or Variant.PLAIN
        return cached_swift_ipa(built, step) if self.edition == "swift" else cached_ipa(built)

    def bundle_id(self, variant: Variant | None) -> str:
        """Of the app that `choose` would give; nothing is built. Raises UsageError when there is none."""
        if self.edition is None:
            return self._given(variant).bundle_id
        return bundle_id_of(variant or Variant.PLAIN)

    def _given(self, variant: Variant | None) -> BuiltRunner:
        if variant is None and len(self.ipas) == 1:
            return self.ipas[0]
        wanted = variant or Variant.PLAIN
        for ipa in self.ipas:
            if ipa.variant is wanted:
                return ipa
        given = ", ".join(f"{ipa.variant} ({ipa.path})" for ipa in self.ipas)
        asks = f"the suite asks for the variant {wanted} of the runner app"
        if variant is None:
            asks = f"the suite names no variant of the runner app, so with several given it takes the {wanted} one"
        raise UsageError(
            f"{asks}, but the apps given (--runner, --load-runner) are only: {given}. Add the .ipa of that variant "
            f"(for a virtual phone: harness runner build --variant {wanted}; else see docs/runner-app.md), "
            "or change `variants` in the suite's [matrix]"
        )


def parse_runner(words: Sequence[str]) -> RunnerChoice:
    """`auto`, `python` or `swift` alone, or the paths of `.ipa` files, each of another variant.

    Raises UsageError for anything else, and for a file that is no app.
    """
    if len(words) == 1 and words[0] in EDITIONS:
        return RunnerChoice(words[0])
    for word in words:
        if word in EDITIONS:
            raise UsageError(f"runner {word!r}: it stands alone, or leave it out and give the .ipa of each variant")
        if Path(word).suffix != ".ipa":
            raise UsageError(f"runner {word!r}: it is `auto`, `python`, `swift`, or the path of an .ipa")
    if not words:
        raise UsageError("no runner is named: it is `auto`, `python`, `swift`, or the path of an .ipa")
    ipas: list[BuiltRunner] = []
    for word in words:
        ipa = read_ipa(Path(word))
        for other in ipas:
            if other.variant is ipa.variant:
                raise UsageError(f"runner {word}: it is {ipa.variant} as {other.path} is; give one app a variant")
            if other.bundle_id == ipa.bundle_id:
                # the phone would have the one or the other, installed anew before every trial
                raise UsageError(
                    f"runner {word}: its bundle id {ipa.bundle_id} is that of {other.path}, so they cannot be on one "
                    "phone together; sign each variant with an id of its own (docs/runner-app.md)"
                )
        ipas.append(ipa)
    return RunnerChoice(None, tuple(ipas))
