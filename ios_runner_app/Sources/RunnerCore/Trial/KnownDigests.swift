#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// Computes a file's SHA-256, one buffer at a time.
func fileDigest(_ path: String, on stage: any Stage) throws -> String {
  let chunkBytes = 1 << 20
  let file = open(path, O_RDONLY | O_CLOEXEC)
  if file < 0 { throw SystemError("open \(Files.name(of: path))") }
  defer { close(file) }
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkBytes, alignment: 4096)
  defer { buffer.deallocate() }
  var hash = SHA256()
  while true {
    try stage.check()
    let count = systemRead(file, buffer.baseAddress!, chunkBytes)
    if count < 0 { throw SystemError("read \(Files.name(of: path))") }
    if count == 0 { return hash.hexDigest() }
    hash.update(UnsafeRawBufferPointer(rebasing: buffer.prefix(count)))
  }
}

/// Notes of digests computed earlier, one file a model. A note counts while size, time and inode are unchanged.
struct KnownDigests {
  private static let maxNoteBytes = 4096
  private static let nameDigits = 16
  private let directory: String

  init(home: String) {
    directory = "\(home)/Library/Caches/verified"
  }

  /// The noted digest if the file has not changed since; nil also for a note that cannot be read.
  func get(_ model: String) throws(SystemError) -> String? {
    guard let bytes = Files.read(path(model), limit: Self.maxNoteBytes), let note = try? JSONParser.parse(bytes),
      note["file"] == Self.json(try Files.identity(model)), case .string(let digest) = note["sha256"]
    else { return nil }
    return digest
  }

  func put(_ model: String, _ sha256: String) throws(SystemError) {
    try Files.makeDirectory(directory)
    let note = JSONValue.object([
      JSONValue.Member("file", Self.json(try Files.identity(model))), JSONValue.Member("sha256", .string(sha256)),
    ])
    try Files.write(path(model), Array(note.text.utf8))
  }

  private func path(_ model: String) -> String {
    "\(directory)/\(SHA256.hexDigest(of: model).prefix(Self.nameDigits)).json"
  }

  private static func json(_ file: FileIdentity) -> JSONValue {
    .array([.integer(file.bytes), .integer(file.modifiedNs), .integer(Int64(bitPattern: file.inode))])
  }
}
