import RunnerCore

/// The engine's weight cache of one model, and whether it may be trusted.
///
/// LiteRT-LM packs the weights into a file when it first loads a model, and maps that file later: 22 times less
/// footprint. A build that failed leaves a partial file, so a marker stands beside it while one is being built.
struct WeightCache {
  private static let marker = ".incomplete"
  private static let keyDigits = 16

  /// `Library/Caches/weights/<key>`; key: the model's digest, else its path, size and time.
  let directory: String
  private let prefix: String

  init(_ request: EngineRequest) throws(SystemError) {
    let file = try Files.identity(request.model)
    // The engine's own file name (0.18.1): a pushed-again model has a new time and therefore no cache.
    prefix = "\(Files.name(of: request.model))_\(file.modifiedNs / nanosecondsPerSecond)_\(file.bytes)"
    let key: String
    if let digest = request.job.sha256 {
      key = String(digest.prefix(Self.keyDigits))
    } else {
      let identity = "\(request.job.model)\0\(file.bytes)\0\(file.modifiedNs)"
      key = "path-" + SHA256.hexDigest(of: identity).prefix(Self.keyDigits)
    }
    directory = "\(request.home)/Library/Caches/weights/\(key)"
  }

  func clear() throws(SystemError) {
    if Files.exists(directory) { try Files.removeTree(directory) }
  }

  /// Makes the empty directory and marks it as incomplete.
  func beginBuild() throws(SystemError) {
    try Files.makeDirectory(directory)
    try Files.write("\(directory)/\(Self.marker)", [])
  }

  /// The engine accepted it: takes the marker away.
  func completeBuild() throws(SystemError) {
    try Files.remove("\(directory)/\(Self.marker)")
  }

  /// Its files, and what tells them from others: unchanged after a load that really was warm.
  func listing() -> [String: FileIdentity] {
    var found: [String: FileIdentity] = [:]
    for name in Files.list(directory) { found[name] = try? Files.identity("\(directory)/\(name)") }
    return found
  }

  /// Throws a refusal unless there is a complete cache of this very file.
  static func require(for request: EngineRequest) throws(Refusal) {
    let remedy = "run a trial with cache 'cold' first"
    let cache = try? WeightCache(request)
    let files = cache?.listing() ?? [:]
    if !files.contains(where: { $0.key.hasPrefix(cache?.prefix ?? "") && $0.value.bytes > 0 }) {
      throw Refusal(.cacheMissing, "there is no weight cache of this model file: \(remedy)")
    }
    if files[marker] != nil {
      throw Refusal(.cacheMissing, "the weight cache was left incomplete by a trial that failed: \(remedy)")
    }
  }
}
