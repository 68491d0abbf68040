/// One load, as asked for. nil: `sha256` not verified, `maxTokens` the model's own, `prompt` load only.
public struct Job: Equatable, Sendable {
  public enum Backend: String, Sendable, CaseIterable {
    case cpu
    case gpu
  }

  /// State of the engine's weight cache when the load begins.
  public enum Cache: String, Sendable, CaseIterable {
    /// Deleted first, then built by the engine.
    case cold
    /// A complete one must exist.
    case warm
    /// The engine keeps none.
    case none
  }

  /// Bring the file into the page cache before the load.
  public enum Prewarm: Equatable, Sendable {
    case off
    /// Ask the kernel, chunk by chunk.
    case advise(chunkBytes: Int)
    /// Read every page.
    case touch(chunkBytes: Int)
  }

  /// Path below Documents.
  public let model: String
  public let engine: String
  public let backend: Backend
  public private(set) var cache: Cache
  public let sampleHz: Int
  public let sha256: String?
  public let maxTokens: Int?
  public let prompt: String?
  public let decodeTokens: Int
  public let holdMs: Int
  public let seed: Int
  public let prewarm: Prewarm
  /// One whole load and unload before the measured one.
  public let warmup: Bool
  /// Stop the load when less than this is left below the footprint limit; nil: no guard.
  public let guardReserveBytes: Int64?
  /// Engines of the same file, loaded one after another and kept beside one another; the last generates.
  public private(set) var copies = 1

  func with(cache: Cache) -> Job {
    var job = self
    job.cache = cache
    return job
  }

  func with(copies: Int) -> Job {
    var job = self
    job.copies = copies
    return job
  }
}

extension Job {
  static let maxTokensLimit: Int64 = 1 << 20
  static let maxPromptBytes = 32 * 1024
  static let maxSampleHz: Int64 = 1000
  static let maxHoldMs: Int64 = 3_600_000
  static let maxSeed: Int64 = 1 << 31 - 1
  static let maxCopies: Int64 = 64
  static let chunkBytes: ClosedRange<Int64> = 4096...1 << 30
  static let reserveBytes: ClosedRange<Int64> = 0...1 << 40
  static let maxModelPathBytes = 1024
  /// Engines that only bring the file into memory: no weight cache, no GPU, and the prompt is not used.
  static let floors = ["mmap", "read"]
  static let required = ["model", "engine", "backend", "cache", "sample_hz"]
  static let fields =
    required + [
      "sha256", "max_tokens", "prompt", "decode_tokens", "hold_ms", "seed", "prewarm", "warmup", "guard", "copies",
    ]

  /// Decodes and checks a job. Throws a refusal of kind `bad_job`.
  static func decode(_ value: JSONValue) throws(Refusal) -> Job {
    guard case .object(let members) = value else { throw Refusal(.badJob, "job must be an object") }
    if let unknown = members.map(\.name).filter({ !fields.contains($0) }).min() {
      let known = fields.joined(separator: ", ")
      throw Refusal(.badJob, "a job has no field \(JSONValue.string(unknown).shown); it has \(known)")
    }
    for name in required where value[name] == nil {
      throw Refusal(.badJob, "a job needs \(name)")
    }
    let job = Job(
      model: try modelPath(value["model"]),
      engine: try Fields.string(value["engine"], "engine"),
      backend: try Fields.choice(value["backend"], "backend"),
      cache: try Fields.choice(value["cache"], "cache"),
      sampleHz: Int(try Fields.integer(value["sample_hz"], "sample_hz", 1...maxSampleHz)),
      sha256: try digest(value["sha256"]),
      maxTokens: try Fields.optional(value["max_tokens"]) { (given) throws(Refusal) in
        Int(try Fields.integer(given, "max_tokens", 1...maxTokensLimit))
      },
      prompt: try prompt(value["prompt"]),
      decodeTokens: Int(try Fields.integer(value["decode_tokens"], "decode_tokens", 0...maxTokensLimit, ifAbsent: 0)),
      holdMs: Int(try Fields.integer(value["hold_ms"], "hold_ms", 0...maxHoldMs, ifAbsent: 0)),
      seed: Int(try Fields.integer(value["seed"], "seed", 0...maxSeed, ifAbsent: 0)),
      prewarm: try prewarm(value["prewarm"]),
      warmup: try Fields.bool(value["warmup"], "warmup", ifAbsent: false),
      guardReserveBytes: try reserve(value["guard"]),
      copies: Int(try Fields.integer(value["copies"], "copies", 1...maxCopies, ifAbsent: 1))
    )
    try job.checkTogether()
    return job
  }

  private func checkTogether() throws(Refusal) {
    if decodeTokens > 0 && prompt == nil { throw Refusal(.badJob, "decode_tokens needs a prompt") }
    if !Self.floors.contains(engine) { return }
    if backend != .cpu {
      throw Refusal(.badJob, "engine \(engine) only brings the file in: backend must be cpu")
    }
    if cache != .none {
      throw Refusal(.badJob, "engine \(engine) only brings the file in: cache must be none")
    }
  }

  private static func modelPath(_ value: JSONValue?) throws(Refusal) -> String {
    let shown = (value ?? .null).shown
    guard case .string(let path) = value, !path.isEmpty, path.utf8.count <= maxModelPathBytes else {
      throw Refusal(.badJob, "model must be a path of 1 to \(maxModelPathBytes) bytes, got \(shown)")
    }
    let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { String($0) ?? "" }
    if path.utf8.contains(0) || parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
      throw Refusal(.badJob, "model must be a plain relative path below Documents, got \(shown)")
    }
    return path
  }

  private static func digest(_ value: JSONValue?) throws(Refusal) -> String? {
    switch value {
    case nil, .null: return nil
    case .string(let text) where SHA256.isHexDigest(text): return text
    case .some(let other):
      throw Refusal(.badJob, "sha256 must be 64 lower-case hex digits or null, got \(other.shown)")
    }
  }

  private static func prompt(_ value: JSONValue?) throws(Refusal) -> String? {
    switch value {
    case nil, .null: return nil
    case .string(let text) where (1...maxPromptBytes).contains(text.utf8.count): return text
    default: throw Refusal(.badJob, "prompt must be a string of 1 to \(maxPromptBytes) bytes or null")
    }
  }

  private static func prewarm(_ value: JSONValue?) throws(Refusal) -> Prewarm {
    guard let value else { return .off }
    guard case .object(let members) = value, members.allSatisfy({ ["mode", "chunk_bytes"].contains($0.name) }) else {
      throw Refusal(.badJob, "prewarm must be an object with mode and chunk_bytes")
    }
    let mode = try Fields.choice(value["mode"], "prewarm.mode", among: ["off", "advise", "touch"])
    if mode == "off" {
      if value["chunk_bytes"] == nil { return .off }
      throw Refusal(.badJob, "prewarm.chunk_bytes has no meaning when prewarm.mode is off")
    }
    let chunk = Int(try Fields.integer(value["chunk_bytes"], "prewarm.chunk_bytes", chunkBytes))
    return mode == "touch" ? .touch(chunkBytes: chunk) : .advise(chunkBytes: chunk)
  }

  private static func reserve(_ value: JSONValue?) throws(Refusal) -> Int64? {
    switch value {
    case nil, .null: return nil
    case .object(let members) where members.allSatisfy({ $0.name == "reserve_bytes" }):
      return try Fields.integer(value?["reserve_bytes"], "guard.reserve_bytes", reserveBytes)
    default: throw Refusal(.badJob, "guard must be an object with reserve_bytes, or null")
    }
  }
}
