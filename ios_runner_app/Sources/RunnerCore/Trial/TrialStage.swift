#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

// What an engine may use of its trial.

extension Trial: Stage {
  func phase<Result>(_ name: PhaseName, _ body: (Phase) throws -> Result) throws -> Result {
    state.withLock { $0.phase = name }
    events.emit("phase") { event in
      event.field("name", name.rawValue)
      event.field("edge", "begin")
      event.field("detail", String?.none)
    }
    let phase = Phase(name, beganNs: monotonicNs())
    let result = try body(phase)
    let durationNs = (phase.endedNs ?? monotonicNs()) - phase.beganNs
    let peaks = memory.peaks()
    state.withLock { $0.ended(name, ns: durationNs) }
    events.emit("phase") { event in
      event.field("name", name.rawValue)
      event.field("edge", "end")
      event.field("duration_ns", durationNs)
      event.kernelPeaks(peaks)
      event.field("detail", phase.detail)
    }
    state.withLock { $0.phase = nil }
    return result
  }

  func check() throws {
    let (isCancelled, isGuarded) = state.withLock { ($0.cancelled, $0.guarded) }
    if isCancelled { throw Cancelled() }
    if let error = events.journal.broken {
      throw TrialFailed(.journalError, "the evidence cannot be written: \(error)")
    }
    if isGuarded, let reason = memoryGuard?.reason() {
      throw TrialFailed(.loadError, "\(reason); the load was stopped")
    }
  }

  func cancelled(withinNs: Int64) -> Bool {
    state.wait(timeoutNs: withinNs) { $0.cancelled ? true : nil } ?? false
  }

  func pieces(_ count: Int) {
    let nowNs = monotonicNs()
    if state.withLock({ $0.tells(pieces: count, nowNs: nowNs) }) {
      events.emit("token") { $0.field("count", count) }
    }
  }
}

/// The stage of loads that are not the measured one, a warm-up and further copies: everything happens, no step is told.
struct SilentStage: Stage {
  let trial: Trial

  func phase<Result>(_ name: PhaseName, _ body: (Phase) throws -> Result) throws -> Result {
    trial.state.withLock { $0.innerPhase = name }
    defer { trial.state.withLock { $0.innerPhase = nil } }
    return try body(Phase(name, beganNs: monotonicNs()))
  }

  func check() throws { try trial.check() }
  func cancelled(withinNs: Int64) -> Bool { trial.cancelled(withinNs: withinNs) }
  func pieces(_ count: Int) {}
}

extension Trial {
  /// The guard's own look, for as long as an engine's call runs. Ends the process when there is no room left.
  func watch() {
    let (phase, inCall) = state.withLock { state in
      (state.phase, state.guarded && (state.innerPhase ?? state.phase)?.isOneCall == true)
    }
    guard inCall, let phase, let reason = memoryGuard?.reason(), claimAnswer() else { return }
    sayError(
      TrialFailed(
        .loadError,
        "\(reason); an engine's call cannot be interrupted, so the app ended itself with code \(MemoryGuard.exitCode)"),
      in: phase)
    events.journal.waitUntilSent(timeoutNs: MemoryGuard.sendNs)
    _exit(MemoryGuard.exitCode)
  }
}
