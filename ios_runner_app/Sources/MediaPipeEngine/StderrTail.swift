import RunnerCore

#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// What was written to stderr from a moment on. During a trial file descriptor 2 is a file, so it can be read again.
struct StderrTail {
  /// The engines say a few lines while they load.
  private static let maxBytes = 256 * 1024

  private let path: String?
  private let start: Int64

  /// Begins here.
  init() {
    path = Self.pathOfStderr()
    start = path.flatMap { (try? Files.identity($0))?.bytes } ?? 0
  }

  /// What came since; empty when stderr is not a file.
  func text() -> String {
    guard let path, Files.isFile(path) else { return "" }
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { return "" }
    defer { close(file) }
    let bytes = [UInt8](unsafeUninitializedCapacity: Self.maxBytes) { buffer, count in
      count = max(0, pread(file, buffer.baseAddress!, buffer.count, off_t(start)))
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func pathOfStderr() -> String? {
    #if canImport(Darwin)
      var path = [CChar](repeating: 0, count: Int(MAXPATHLEN))
      let answer = path.withUnsafeMutableBytes { fcntl(STDERR_FILENO, F_GETPATH, $0.baseAddress!) }
      if answer < 0 { return nil }
      return path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    #else
      return Files.resolved("/proc/self/fd/\(STDERR_FILENO)")
    #endif
  }
}
