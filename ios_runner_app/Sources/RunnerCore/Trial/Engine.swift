/// The words of a load. The order is that in which they may follow one another; each only where it applies.
public enum PhaseName: String, CaseIterable, Sendable {
  case verify
  case prewarm
  case warmup
  case cacheClear = "cache_clear"
  case loadLibrary = "load_library"
  case map
  case read
  case gpuUpload = "gpu_upload"
  case createEngine = "create_engine"
  case createSession = "create_session"
  /// A further engine of the same file, from its begin to its session.
  case copy
  case prefill
  case firstToken = "first_token"
  case decode
  case hold
  case unload
  case settle

  /// Phases whose sum is the load.
  static let load: [PhaseName] = [.map, .read, .gpuUpload, .createEngine, .createSession]

  /// A call into an engine: nothing can stop it but the end of the process.
  var isOneCall: Bool { [.loadLibrary, .createEngine, .createSession].contains(self) }
}

/// The engine said no; the words are its own. `kind` is `loadError`, `generateError` or `cacheMissing`.
public struct EngineError: Error, Equatable {
  public let kind: ErrorKind
  public let message: String

  public init(_ kind: ErrorKind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}

/// The host no longer wants the trial.
public struct Cancelled: Error {
  public init() {}
}

/// A running phase. An engine may say when it really began and ended, and what there is to say about it.
public final class Phase {
  public let name: PhaseName
  public var beganNs: Int64
  public var endedNs: Int64?
  public var detail: String?

  init(_ name: PhaseName, beganNs: Int64) {
    self.name = name
    self.beganNs = beganNs
  }
}

/// Where an engine performs: it opens phases, reports progress and learns that it shall stop.
public protocol Stage: Sendable {
  /// Opens a phase; its begin marker is on disk before the body runs. If the body throws, the phase stays open.
  func phase<Result>(_ name: PhaseName, _ body: (Phase) throws -> Result) throws -> Result
  /// Throws if the trial shall stop: cancelled, or too near the memory limit for a job with a guard. Call it between
  /// steps, and between the chunks of a step that has any.
  func check() throws
  /// Waits at most this long; tells whether the host cancelled the trial.
  func cancelled(withinNs: Int64) -> Bool
  /// Reports how many pieces of text there are so far (throttled).
  func pieces(_ count: Int)
}

/// Which device executes after a load (nil: not known), and how that is known.
public struct EffectiveBackend: Equatable, Sendable {
  public let name: String?
  public let how: String

  public init(_ name: String?, how: String) {
    self.name = name
    self.how = how
  }
}

/// What came out. Counts and rates are the engine's own; nil where it gave none.
public struct Generation: Equatable, Sendable {
  public var prefillTokens: Int?
  public var prefillTps: Double?
  public var decodeTokens: Int?
  public var decodeTps: Double?
  public var outputSHA256: String?
  public var outputBytes: Int?
  /// Pieces of text; 0: it generated, and nothing came. nil: it did not generate.
  public var outputChunks: Int?

  public init() {}
}

/// One engine in one process, used for one load, from one thread.
public protocol Engine: AnyObject {
  /// Brings the model in, a session included. Throws `EngineError` of kind `loadError`, or what `check` throws.
  func load(on stage: any Stage) throws
  func effectiveBackend() -> EffectiveBackend
  /// Runs the job's prompt; nil when there is nothing to generate. Throws `EngineError` of kind `generateError`.
  func generate(on stage: any Stage) throws -> Generation?
  /// Gives back what `load` took. Allowed after a failed load, and twice.
  func unload()
}

/// What an engine is made for. Paths are absolute and resolved; `home` is the app's data container.
public struct EngineRequest: Sendable {
  public let job: Job
  public let model: String
  public let home: String

  public init(job: Job, model: String, home: String) {
    self.job = job
    self.model = model
    self.home = home
  }
}

/// An engine this app has.
public struct EngineKind: Sendable {
  public let name: String
  public let version: String
  /// Throws for jobs that cannot work, before the trial begins.
  public let refuse: @Sendable (EngineRequest) throws(Refusal) -> Void
  public let make: @Sendable (EngineRequest) -> any Engine

  public init(
    name: String, version: String, refuse: @escaping @Sendable (EngineRequest) throws(Refusal) -> Void = { _ in },
    make: @escaping @Sendable (EngineRequest) -> any Engine
  ) {
    self.name = name
    self.version = version
    self.refuse = refuse
    self.make = make
  }
}
