"""What a change is called, and what has been said of it, in few words. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.outcome_series import Fate, fate_of
from harness.analysis.series import BUILD_COLUMNS, CONTEXT, OUTCOME
from harness.analysis.verdict import BuildLabel, Verdict
from harness.core.judgement import TriageState, VerdictKind

_ALARMING = (VerdictKind.REGRESSED, VerdictKind.INCOMPARABLE)


def counts_text(tones: Sequence[str]) -> str:
    """`2 worse, 1 better`; empty for none."""
    words = {"worse": "worse", "unsure": "missing", "better": "better"}
    return ", ".join(f"{tones.count(tone)} {word}" for tone, word in words.items() if tone in tones)


def heading_of(verdict: Verdict) -> str:
    """`Dies`, `Regressed`, `Loads again`, …"""
    if verdict.kind is VerdictKind.SAME:
        return "Accepted"
    if verdict.kind is VerdictKind.NOISY:
        return "By turns" if verdict.confirmation is None else "Refuted by a re-run"
    if verdict.series.metric == OUTCOME:
        return _heading_of_outcome(verdict)
    if verdict.kind is VerdictKind.IMPROVED:
        return "Back" if verdict.words.startswith("back since") else "Improved"
    return "Regressed"


def _heading_of_outcome(verdict: Verdict) -> str:
    fate = fate_of(verdict.after) if isinstance(verdict.after, str) else None
    line = " since an update" if verdict.kind is VerdictKind.INCOMPARABLE else ""
    if verdict.kind is VerdictKind.REGRESSED and verdict.words.startswith("flaky"):
        return "Dies at times"
    if fate is Fate.LOADED:
        return f"Loads{line or ' again'}"
    word = "Falls back" if fate is Fate.FELL_BACK else "Dies"
    # from death to another backend is better, and still not what was asked
    return f"{word}{line}" if verdict.loud else f"{word}, no longer dies"


def tone_of(verdict: Verdict) -> str:
    """`worse`, `better` or `unsure`: a colour beside the words."""
    if verdict.kind is VerdictKind.IMPROVED or (verdict.kind is VerdictKind.INCOMPARABLE and not verdict.loud):
        return "better"
    return "worse" if verdict.kind in _ALARMING else "unsure"


def builds_text(verdict: Verdict) -> str:
    """Between which builds it happened; empty where the verdict is about no two nights."""
    good, bad = verdict.last_good, verdict.first_bad
    if good is None or bad is None:
        return ""
    if good.words == bad.words == BuildLabel(None, None, None).words:
        return "not named in the records"
    if (good.build, good.app_build) == (bad.build, bad.app_build):
        return f"the same on both sides, {bad.words}: look at the rest, or at the phone"
    if good.app_build is not None and good.app_build == bad.app_build:
        return f"last before {good.words}, first since {bad.words}: the same app"
    return f"last before {good.words}, first since {bad.words}"


def suspects_of(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """What else changed between the two nights: what it is called, and `old → new`."""
    return tuple((CONTEXT.get(name, name), change) for name, change in verdict.suspects.items() if name not in _TOLD)


# builds are told as such; iOS is told by its version
_TOLD = (*BUILD_COLUMNS, "device_os_build")


def confirmation_text(verdict: Verdict) -> str | None:
    """What a re-run says; None: there was none."""
    said = verdict.confirmation
    if said is None:
        return None
    return f"{said.result.replace('_', ' ')}, {said.at.date()}: {said.reason}"


def owner_text(verdict: Verdict) -> str:
    """What a person says is to be done."""
    said = verdict.triage
    if said is None or (said.state is TriageState.OPEN and not said.reason):
        return "open: nobody has said anything of it yet"
    told = f"{said.state} by {said.author}, {said.at.date()}: {said.reason}"
    reopened = verdict.is_open and said.state is TriageState.FIXED
    return f"open again: the nights since do not bear out “{told}”" if reopened else told
