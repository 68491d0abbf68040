/// One trial: the phases of a load in their order, with the sampler running, to a `result` or an `error`.
///
/// A phase's begin marker is in the journal before the phase's first instruction, because nothing can be said afterwards
/// when the process dies in it.
final class Trial: Sendable {
  /// Sampling goes on this long after the unload, so that memory given back late is not called left over.
  static let settleNs: Int64 = 200_000_000
  private static let digestKnown =
    "digest known from an earlier run of this file: size, modification time and inode are unchanged"

  let name: String
  let state = Monitor(TrialState())
  let events: EventLog
  let memory: any MemoryProducer
  let memoryGuard: MemoryGuard?
  private let stderrDescriptor: Int32
  private let request: EngineRequest
  private let kind: EngineKind
  private let answered: @Sendable () -> Void

  /// `answered` is called just before the `result` or the `error` is said.
  init(
    name: String, request: EngineRequest, kind: EngineKind, events: EventLog, memory: any MemoryProducer,
    stderrDescriptor: Int32, answered: @escaping @Sendable () -> Void
  ) {
    self.name = name
    self.request = request
    self.kind = kind
    self.events = events
    self.memory = memory
    self.stderrDescriptor = stderrDescriptor
    self.answered = answered
    memoryGuard = request.job.guardReserveBytes.map { MemoryGuard(reserveBytes: $0, memory: memory) }
  }

  private var job: Job { request.job }

  /// Asks the trial to end as soon as it can. From any thread.
  func cancel() {
    state.change { $0.cancelled = true }
  }

  /// Runs to the end. Everything that happens is in the events.
  func run() {
    do {
      try runToAnswer()
    } catch {
      fail(TrialFailed(error), in: state.withLock { $0.phase })
    }
  }

  private func runToAnswer() throws {
    let baseline = memory.read().footprint
    let path = events.journal.trialPath(name, ".stderr")
    let stderr = try StderrCapture(descriptor: stderrDescriptor, path: path) { [events] line, truncated in
      events.emit("log") { event in
        event.field("stream", "stderr")
        event.field("line", line)
        event.field("truncated", truncated)
      }
    }
    let sampler = try Sampler(hz: job.sampleHz) { nowNs, periodNs in self.sample(nowNs, periodNs) }
    let watch = try memoryGuard.map { _ in try Sampler(hz: MemoryGuard.hz, name: "guard") { _, _ in self.watch() } }
    // A warm-up needs one engine, whatever the job asks for.
    var engine = engine(copies: job.warmup ? 1 : job.copies)
    var generation: Generation?
    var leftover: Int64?
    var cancelled = false
    var failure: TrialFailed?
    do {
      generation = try loadAndGenerate(&engine)
      leftover = try unload(engine)
    } catch is Cancelled {
      cancelled = true
    } catch {
      failure = TrialFailed(error)
    }
    let failedIn = state.withLock { state in
      defer { state.phase = nil }
      return state.phase
    }
    if cancelled { leftover = try unload(engine) }
    let stats = sampler.stop()
    _ = watch?.stop()
    stderr.stop()
    if failure == nil, let error = events.journal.broken {
      failure = TrialFailed(.journalError, "the evidence cannot be written: \(error)")
    }
    if let failure {
      // Said before the clean-up: deleting a half-built engine may be the end of the process.
      fail(failure, in: failedIn)
      return engine.unload()
    }
    result(generation ?? Generation(), stats, baseline: baseline, leftover: leftover, cancelled: cancelled)
  }

  private func loadAndGenerate(_ engine: inout any Engine) throws -> Generation? {
    try verify()
    state.withLock { $0.guarded = memoryGuard != nil }
    defer { state.withLock { $0.guarded = false } }
    if job.prewarm != .off {
      try phase(.prewarm) { _ in try prewarm(request.model, job.prewarm, on: self) }
    }
    if job.warmup { try warmUp(&engine) }
    try check()
    try engine.load(on: self)
    state.withLock { $0.guarded = false }
    let effective = engine.effectiveBackend()
    events.emit("backend") { event in
      event.field("requested", job.backend.rawValue)
      event.field("effective", effective.name)
      event.field("how", effective.how)
    }
    try check()
    let generation = try engine.generate(on: self)
    if job.holdMs > 0 {
      try phase(.hold) { _ in
        _ = cancelled(withinNs: Int64(job.holdMs) * 1_000_000)
        try check()
      }
    }
    return generation
  }

  /// One whole load and unload. Its steps are one phase, so none of their figures mixes with the measured load's.
  private func warmUp(_ engine: inout any Engine) throws {
    try phase(.warmup) { _ in
      try engine.load(on: SilentStage(trial: self))
      engine.unload()
    }
    engine = self.engine(copies: job.copies)
  }

  private func engine(copies: Int) -> any Engine {
    let request = EngineRequest(job: job.with(copies: copies), model: request.model, home: request.home)
    return Copies.engine(kind, request, silent: SilentStage(trial: self))
  }

  private func verify() throws {
    guard let wanted = job.sha256 else { return }
    let known = KnownDigests(home: request.home)
    try phase(.verify) { phase in
      var digest = try known.get(request.model)
      phase.detail = Self.digestKnown
      if digest == nil {
        phase.detail = "digest computed"
        digest = try fileDigest(request.model, on: self)
        if let digest { try known.put(request.model, digest) }
      }
      if let digest, digest != wanted {
        throw TrialFailed(
          .wrongDigest, "Documents/\(job.model) has SHA-256 \(digest), not \(wanted): push the model again")
      }
    }
  }

  /// Unloads, lets it settle, and returns the footprint that is left.
  private func unload(_ engine: any Engine) throws -> Int64? {
    try phase(.unload) { _ in engine.unload() }
    try phase(.settle) { _ in sleepUntil(monotonicNs() + Self.settleNs) }
    return memory.read().footprint
  }

  /// Claims the one answer that a trial gets; false when it has been given.
  func claimAnswer() -> Bool {
    let mine = state.withLock { state in
      defer { state.answered = true }
      return !state.answered
    }
    if mine { answered() }
    return mine
  }
}
