/// The kinds of `error` events. Their names are the wire's.
public enum ErrorKind: String, Sendable, CaseIterable {
  case badJSON = "bad_json"
  case tooLong = "too_long"
  case badCommand = "bad_command"
  case badVersion = "bad_version"
  case badJob = "bad_job"
  case busy
  case alreadyRun = "already_run"
  case nothingRunning = "nothing_running"
  case unknownEngine = "unknown_engine"
  case unknownModel = "unknown_model"
  case wrongDigest = "wrong_digest"
  case cacheMissing = "cache_missing"
  case loadError = "load_error"
  case generateError = "generate_error"
  case memoryError = "memory_error"
  case journalError = "journal_error"
  case internalError = "internal_error"
}

/// A command that is not carried out. `trial` is the one that gets no result because of it.
public struct Refusal: Error, Equatable {
  public let kind: ErrorKind
  public let message: String
  public var trial: String?

  public init(_ kind: ErrorKind, _ message: String, trial: String? = nil) {
    self.kind = kind
    self.message = message
    self.trial = trial
  }

  func of(_ trial: String) -> Refusal {
    Refusal(kind, message, trial: trial)
  }
}
