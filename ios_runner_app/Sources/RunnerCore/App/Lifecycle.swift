/// Where the process stands: one process, one trial, because the kernel's peak counters have no reset and a fresh
/// process is the only fair start.
enum Lifecycle: CaseIterable, Sendable {
  case idle
  /// A trial was asked for and refused: a `bye` lets the app end, and another may still be asked for.
  case refused
  case running
  case finished

  enum Step: CaseIterable, Sendable {
    /// A trial is asked for.
    case run
    /// It cannot be begun.
    case refusal
    /// It has begun.
    case begin
    /// Its result or error is about to be said.
    case answer
    case cancel
    case bye
  }

  enum Move: Equatable, Sendable {
    case go(Lifecycle)
    case refuse(ErrorKind)
    /// The app has no further use.
    case end
  }

  /// Every transition there is.
  func move(_ step: Step) -> Move {
    switch (self, step) {
    case (.idle, .run), (.refused, .run): .go(self)
    case (.running, .run): .refuse(.busy)
    case (.finished, .run): .refuse(.alreadyRun)

    case (.idle, .refusal), (.refused, .refusal): .go(.refused)
    case (.running, .refusal), (.finished, .refusal): .go(self)

    case (.idle, .begin), (.refused, .begin): .go(.running)
    case (.running, .begin), (.finished, .begin): .refuse(.internalError)

    case (.running, .answer): .go(.finished)
    case (.idle, .answer), (.refused, .answer), (.finished, .answer): .refuse(.internalError)

    case (.running, .cancel): .go(.running)
    case (.idle, .cancel), (.refused, .cancel), (.finished, .cancel): .refuse(.nothingRunning)

    case (.idle, .bye), (.running, .bye): .go(self)
    case (.refused, .bye), (.finished, .bye): .end
    }
  }

  /// The word of `hello`.
  var wireName: String {
    switch self {
    case .idle, .refused: "idle"
    case .running: "running"
    case .finished: "finished"
    }
  }
}
