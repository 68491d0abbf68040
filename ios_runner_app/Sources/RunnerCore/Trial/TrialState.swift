/// What a running trial knows of itself, shared by its threads.
struct TrialState {
  /// At most 20 token events a second.
  static let tokenEventNs: Int64 = 50_000_000

  var cancelled = false
  /// Whether the `result` or the `error` has been said; what follows is cleaning up.
  var answered = false
  var phase: PhaseName?
  /// What a warm-up or a further copy does inside its one phase.
  var innerPhase: PhaseName?
  /// Whether the memory guard is on: from the first byte brought in until the load is done.
  var guarded = false
  /// Of every finished phase, in order of their first ends; what has come more than once is added up.
  var durationsNs: [(name: PhaseName, ns: Int64)] = []
  var peakFootprint: Int64?
  private var pieces = 0
  private var piecesToldNs: Int64 = 0

  mutating func ended(_ name: PhaseName, ns: Int64) {
    if let index = durationsNs.firstIndex(where: { $0.name == name }) {
      durationsNs[index].ns += ns
    } else {
      durationsNs.append((name, ns))
    }
  }

  func durationNs(_ name: PhaseName) -> Int64 {
    durationsNs.reduce(0) { $1.name == name ? $0 + $1.ns : $0 }
  }

  /// nil when nothing was loaded.
  var loadNs: Int64? {
    let sum = PhaseName.load.reduce(0) { $0 + durationNs($1) }
    return sum > 0 ? sum : nil
  }

  /// Whether this count is worth an event now.
  mutating func tells(pieces count: Int, nowNs: Int64) -> Bool {
    if count <= pieces || nowNs - piecesToldNs < Self.tokenEventNs { return false }
    (pieces, piecesToldNs) = (count, nowNs)
    return true
  }
}

/// The trial ends with an `error` event of this kind.
struct TrialFailed: Error {
  let kind: ErrorKind
  let message: String

  init(_ kind: ErrorKind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// What an error of any layer means for the trial.
  init(_ error: any Error) {
    switch error {
    case let error as TrialFailed: self = error
    case let error as EngineError: self.init(error.kind, error.message)
    default: self.init(.internalError, "\(error)")
    }
  }
}
