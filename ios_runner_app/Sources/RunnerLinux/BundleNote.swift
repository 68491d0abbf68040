import Glibc
import RunnerCore
import RunnerEngines

/// What the builder put into the bundle beside the executable: who this build is, and where this machine has engines.
///
/// LiteRT-LM's library has 120 MB, so it is not copied into every bundle: the note names the one that the harness's own
/// Python uses. A bundle for Linux is therefore for the machine it was built on, and a bundle for a phone has no such
/// note.
struct BundleNote {
  private static let fileName = "build_info.json"
  private static let maxBytes = 64 * 1024
  private static let executable = "/proc/self/exe"

  var build = BuildInfo()
  private var liteRTLM: (version: String, library: String)?

  /// Without a note the app is one that was started from a build folder; it then has the floors only.
  static func read() throws(SetupError) -> BundleNote {
    var note = BundleNote()
    guard let executable = Files.resolved(executable), let bundle = Files.parent(of: executable),
      let bytes = Files.read("\(bundle)/\(fileName)", limit: maxBytes)
    else { return note }
    guard let json = try? JSONParser.parse(bytes) else { throw SetupError("\(fileName) is not JSON") }
    try note.take(json)
    return note
  }

  func engines(_ gpu: EmulatedGPU?) -> [EngineKind] {
    guard let (version, library) = liteRTLM else { return [] }
    return [LiteRTLMEngine.kind(version: version, libraryPath: library, gpu: gpu)]
  }

  private mutating func take(_ note: JSONValue) throws(SetupError) {
    build = try BuildInfo(note)
    guard let engine = note["engines"]?["litert_lm"] else { return }
    guard case .string(let version) = engine["version"], case .string(let library) = engine["library"] else {
      throw SetupError("\(Self.fileName): an engine has a version and a library, got \(engine.shown)")
    }
    liteRTLM = (version, library)
  }
}
