import Foundation
import RunnerCore

/// MediaPipe's weight cache of one model, and whether it may be trusted.
///
/// MediaPipe keeps it in the app's temporary folder, named after the model file alone, and offers neither another place
/// nor a way to do without. The name does not change when another file of that name is pushed, and a load that died
/// leaves a part; so a note of our own tells for which file a cache was completed.
struct MediaPipeCache {
  private static let maxNoteBytes = 1024
  static let cpuSuffix = ".xnnpack_cache"

  private let folder: String
  private let note: String
  private let prefix: String
  private let file: FileIdentity

  init(_ request: EngineRequest) throws(SystemError) {
    folder = FileManager.default.temporaryDirectory.path
    prefix = Files.name(of: request.model) + "."
    note = "\(request.home)/Library/Caches/mediapipe/\(SHA256.hexDigest(of: request.job.model)).complete"
    file = try Files.identity(request.model)
  }

  /// The files that belong to the model, by name.
  func listing() -> [String: FileIdentity] {
    var found: [String: FileIdentity] = [:]
    for name in Files.list(folder) where name.hasPrefix(prefix) {
      found[name] = try? Files.identity("\(folder)/\(name)")
    }
    return found
  }

  /// Names of the CPU engine's caches that hold anything.
  var cpuCaches: [String] {
    listing().filter { $0.key.hasSuffix(Self.cpuSuffix) && $0.value.bytes > 0 }.map(\.key).sorted()
  }

  /// Deletes every trace of it; the next load is cold.
  func clear() throws(SystemError) {
    try Files.remove(note)
    for name in listing().keys { try Files.remove("\(folder)/\(name)") }
  }

  /// The engine accepted what it has built.
  func completeBuild() throws(SystemError) {
    guard let parent = Files.parent(of: note) else { return }
    try Files.makeDirectory(parent)
    try Files.write(note, Array(identity.utf8))
  }

  /// Throws a refusal unless there is a complete cache of this very file.
  static func require(for request: EngineRequest) throws(Refusal) {
    let remedy = "run a trial with cache 'cold' first"
    guard let cache = try? MediaPipeCache(request), !cache.listing().isEmpty else {
      throw Refusal(.cacheMissing, "there is no weight cache of this model (iOS may have deleted it): \(remedy)")
    }
    guard Files.read(cache.note, limit: maxNoteBytes) == Array(cache.identity.utf8) else {
      throw Refusal(
        .cacheMissing, "the weight cache is incomplete, or of another file that had this name: \(remedy)")
    }
  }

  private var identity: String { "\(file.bytes) \(file.modifiedNs) \(file.inode)" }
}
