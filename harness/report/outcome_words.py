"""For each outcome: the rule behind it and what to try next, in plain words. The table is that of docs/outcomes.md."""

from __future__ import annotations

from harness.core.outcome import EvidenceKind, Family, Outcome

LAST_STEP = "record"
"""Its own end cannot be in the record that it writes."""

STEPS: dict[str, str] = {
    "begin": "wrote down that the trial begins",
    "ready": "asked the phone how it is, and waited if it was too warm",
    "app": "saw to it that the runner app is installed",
    "model": "saw to it that the model is on the phone",
    "cache_fill": "loaded the model once, unmeasured, to fill the weight cache",
    "note_reports": "noted which crash reports were there before",
    "launch": "started the runner app",
    "connect": "waited until it listened, and connected",
    "hello": "asked it who it is",
    "ready_app": "waited until the app said that the phone is ready",
    "clock": "compared its clock with the host's",
    "run": "let it work, and listened",
    "clock_again": "compared the clocks again",
    "end": "saw to it that the process ended",
    "evidence": "fetched journal, standard error and reports from the phone",
    "conclude": "weighed the evidence",
    LAST_STEP: "wrote the record",
}

FAMILIES: dict[Family, str] = {
    Family.MEASURED: "The model was measured.",
    Family.MODEL: "This says something about the model on this phone.",
    Family.DEVICE: "This says nothing about the model: the phone was in the way.",
    Family.HOST: "This says nothing about the model: the host, or the way to the phone, was in the way.",
}

RULES: dict[Outcome, str] = {
    Outcome.LOADED: "the runner sent its result, from the backend that was asked for.",
    Outcome.FELL_BACK: "the runner sent its result, but the engine ran on another backend than the one asked for.",
    Outcome.LOAD_ERROR: "the engine itself refused to load the model; the process lived on and said why.",
    Outcome.GENERATE_ERROR: "the model loaded, and the engine failed while it worked on the prompt or the answer.",
    Outcome.BAD_ALLOC: "the process is gone, and its last words or its crash report say std::bad_alloc: an "
    "allocation found no room in the address space.",
    Outcome.ABORTED: "the process ended itself (SIGABRT), and not for want of memory: a check failed.",
    Outcome.GPU_FAULT: "the process was stopped for touching memory it may not touch, while it worked on the GPU.",
    Outcome.CRASHED: "the process crashed: a crash report, or the phone's own notice, names the signal.",
    Outcome.JETSAM: "the process is gone, no crash report is about it, and a JetsamEvent names it as the victim: the "
    "phone killed it for its memory.",
    Outcome.HUNG: "the process was still there, but neither a phase nor a token nor a result came within the limit.",
    Outcome.LOST: "the phone was not attached any more and did not come back within the grace time.",
    Outcome.NOT_READY: "the phone was not in the state that the trial needs, or refused to serve this host.",
    Outcome.INSTALL_FAILED: "the runner app could not be installed.",
    Outcome.PUSH_FAILED: "the model could not be brought to the phone whole.",
    Outcome.LAUNCH_FAILED: "the runner app could not be started, or did not listen.",
    Outcome.HARNESS_ERROR: "something on this host went wrong; it says nothing about the model.",
    Outcome.UNKNOWN: "no other rule matched. What nothing proves is never called loaded, nor a fault of the model.",
}

SOUGHT: dict[EvidenceKind, str] = {
    EvidenceKind.RESULT: "a result",
    EvidenceKind.RUNNER_ERROR: "an error told by the engine",
    EvidenceKind.CRASH_REPORT: "a crash report of the app",
    EvidenceKind.JETSAM_EVENT: "a JetsamEvent",
    EvidenceKind.TERMINATION: "the phone's notice of the end",
    EvidenceKind.STDERR: "words on standard error",
}
"""Kinds of evidence that the harness always looks for."""

# What to try next where no rule of `analysis.advice` finds anything in the trial itself.
NEXT: dict[Outcome, tuple[str, ...]] = {
    Outcome.LOADED: ("Nothing: compare its figures with other trials (`harness report`).",),
    Outcome.FELL_BACK: (
        "Read how the effective backend is known, above: the engine may say why it left the one asked for.",
        "Its figures belong to the backend it ran on; ask for that one, or fix the model for the other.",
    ),
    Outcome.LOAD_ERROR: (
        "Read the engine's message: the file may be of another format, or want another backend or a newer engine.",
        "The stderr file has the lines around it.",
    ),
    Outcome.GENERATE_ERROR: (
        "Try fewer tokens (`max_tokens`) or another prompt; the message above says in which phase it failed.",
    ),
    Outcome.BAD_ALLOC: (
        "Build the runner with com.apple.developer.kernel.extended-virtual-addressing (or increased-memory-limit on "
        "iOS 16 and later), which widens the address space.",
        "Or use a smaller model, a smaller context (`max_tokens`), or a lower quantisation.",
    ),
    Outcome.ABORTED: (
        "The last words above name the check that failed; search for them in the engine's sources or issues.",
        "Try another engine version or backend.",
    ),
    Outcome.GPU_FAULT: (
        "Try the CPU to see whether the model itself is sound.",
        "If only the GPU fails, keep the crash report: it belongs to the engine's authors.",
    ),
    Outcome.CRASHED: ("The crash report names the signal and the thread: it belongs to the engine's authors.",),
    Outcome.JETSAM: (
        "Compare peak_footprint_bytes with footprint_limit_bytes: how far over the limit was it?",
        "Build the runner with com.apple.developer.kernel.increased-memory-limit, which raises the limit on some "
        "models of phones.",
        "Or use a smaller model, a smaller context (`max_tokens`), or the CPU (mapped weights do not count there).",
    ),
    Outcome.HUNG: (
        "If the model is large, raise `progress_limit_s` in the suite's [options].",
        "The last phase begun tells where it stood still; on a phone, look whether the app was moved from the front.",
    ),
    Outcome.LOST: (
        "Check the cable and the hub's power; look at the cuts in the time line.",
        "A cable that was put back later: raise `grace_s` in the suite's [options].",
        "A phone that restarted by itself is worth a note: heat or memory may be behind it.",
    ),
    Outcome.NOT_READY: ("Do what the reason says (docs/real-iphone.md has each step), and run again.",),
    Outcome.INSTALL_FAILED: (
        "Is the app signed for this phone, is Developer Mode on, is there free storage? (docs/real-iphone.md)",
    ),
    Outcome.PUSH_FAILED: ("Check the phone's free storage and the cable, and run again: the push goes on.",),
    Outcome.LAUNCH_FAILED: (
        "Is the phone unlocked, Developer Mode on, the developer image mounted, the developer trusted on the phone?",
        "If the app ended before it listened, its crash report is among the files.",
    ),
    Outcome.HARNESS_ERROR: (
        "If it was interrupted, run again. Otherwise the reason above is what to report, with the files below.",
    ),
    Outcome.UNKNOWN: (
        "Run the trial again: one end without proof happens, the same end twice is a pattern.",
        "A process that is gone without any report was usually ended by a person (or a tool), or reports are "
        "switched off on the phone (Settings → Privacy & Security → Analytics).",
    ),
}


def known_outcome(text: str | None) -> Outcome | None:
    """None for one that a newer harness wrote, or none at all."""
    try:
        return None if text is None else Outcome(text)
    except ValueError:
        return None
