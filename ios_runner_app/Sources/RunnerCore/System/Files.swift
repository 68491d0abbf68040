#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// A file as far as one can tell it from another: changed content shows in one of these.
public struct FileIdentity: Equatable, Sendable {
  public let bytes: Int64
  public let modifiedNs: Int64
  public let inode: UInt64
}

/// Files by their paths, in the system's own calls: Foundation would cost megabytes of every reading.
public enum Files {
  public static func identity(_ path: String) throws(SystemError) -> FileIdentity {
    let status = try self.status(path)
    return FileIdentity(
      bytes: Int64(status.st_size), modifiedNs: Posix.modifiedNs(status), inode: UInt64(status.st_ino))
  }

  public static func isFile(_ path: String) -> Bool {
    (try? status(path)).map { $0.st_mode & S_IFMT == S_IFREG } ?? false
  }

  public static func isDirectory(_ path: String) -> Bool {
    (try? status(path)).map { $0.st_mode & S_IFMT == S_IFDIR } ?? false
  }

  /// Whether there is anything, a dangling link included.
  public static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }

  /// The path with every link followed; nil when there is no such file.
  public static func resolved(_ path: String) -> String? {
    guard let text = realpath(path, nil) else { return nil }
    defer { free(text) }
    return String(cString: text)
  }

  /// Makes the directory and those above it.
  public static func makeDirectory(_ path: String) throws(SystemError) {
    if isDirectory(path) { return }
    if let parent = parent(of: path), !parent.isEmpty {
      try makeDirectory(parent)
    }
    if mkdir(path, 0o755) != 0 && errno != EEXIST {
      throw SystemError("mkdir \(path)")
    }
  }

  /// Names of the entries, sorted; empty when it is no directory.
  public static func list(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: tuple.pointee)) {
          String(cString: $0)
        }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Deletes a directory and all below it; links are deleted, not followed.
  public static func removeTree(_ path: String) throws(SystemError) {
    for name in list(path) {
      let entry = "\(path)/\(name)"
      var status = stat()
      if lstat(entry, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR {
        try removeTree(entry)
      } else {
        try remove(entry)
      }
    }
    if rmdir(path) != 0 && errno != ENOENT { throw SystemError("rmdir \(path)") }
  }

  /// Deletes a file; one that is not there is no error.
  public static func remove(_ path: String) throws(SystemError) {
    if unlink(path) != 0 && errno != ENOENT { throw SystemError("unlink \(path)") }
  }

  /// The content, at most `limit` bytes of it; nil when it cannot be read.
  public static func read(_ path: String, limit: Int) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { return nil }
    defer { close(file) }
    var content = [UInt8](repeating: 0, count: limit)
    var done = 0
    while done < limit {
      let count = content.withUnsafeMutableBytes { systemRead(file, $0.baseAddress! + done, limit - done) }
      if count < 0 { return nil }
      if count == 0 { break }
      done += count
    }
    content.removeLast(limit - done)
    return content
  }

  /// Replaces a file as a whole: a reader sees the old content or the new.
  public static func write(_ path: String, _ content: [UInt8]) throws(SystemError) {
    let part = path + ".part"
    let file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    if file < 0 { throw SystemError("open \(part)") }
    let written = content.withUnsafeBytes { writeAll(file, $0) }
    close(file)
    if written < content.count { throw SystemError("write \(part)") }
    if rename(part, path) != 0 { throw SystemError("rename \(path)") }
  }

  /// What comes before the last separator; nil for a bare name.
  public static func parent(of path: String) -> String? {
    path.lastIndex(of: "/").map { String(path[..<$0]) }
  }

  /// What comes after the last separator.
  public static func name(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }

  private static func status(_ path: String) throws(SystemError) -> stat {
    var status = stat()
    if stat(path, &status) != 0 { throw SystemError("stat \(path)") }
    return status
  }
}

/// `read(2)`, begun again when a signal came between.
func systemRead(_ file: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
  while true {
    let done = read(file, buffer, count)
    if done >= 0 || errno != EINTR { return done }
  }
}

/// Writes all of it; returns how much was written before the system refused (`errno` says why).
func writeAll(_ file: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
  var done = 0
  while done < bytes.count {
    let count = write(file, bytes.baseAddress! + done, bytes.count - done)
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { break }
    done += count
  }
  return done
}
