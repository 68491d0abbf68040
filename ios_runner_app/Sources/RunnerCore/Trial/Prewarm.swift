#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// A file mapped read-only: clean pages, which no platform charges to the footprint.
public final class MappedFile {
  public let bytes: UnsafeRawBufferPointer

  /// Throws for an empty file too: there is nothing to map.
  public init(_ path: String) throws(SystemError) {
    let size = Int(try Files.identity(path).bytes)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { throw SystemError("open \(Files.name(of: path))") }
    defer { close(file) }
    let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0)
    guard let base, base != MAP_FAILED else { throw SystemError("mmap of \(size) bytes") }
    bytes = UnsafeRawBufferPointer(start: base, count: size)
    #if os(Linux)
      // How much of a file Linux maps in huge pages, which need no page tables, depends on what the page cache holds: the
      // footprint of one load would differ from the next one's. A phone has no huge pages. Best effort.
      madvise(base, size, MADV_NOHUGEPAGE)
    #endif
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count)
  }

  /// Reads a byte of every page, so that each is brought in.
  public func touch(chunkBytes: Int, on stage: any Stage) throws {
    var sum: UInt8 = 0
    for chunk in stride(from: 0, to: bytes.count, by: chunkBytes) {
      try stage.check()
      for offset in stride(from: chunk, to: min(chunk + chunkBytes, bytes.count), by: Int(systemPageSize)) {
        sum ^= bytes[offset]
      }
    }
    keep(sum)
  }

  /// Asks the kernel to bring the file in, chunk by chunk.
  func advise(chunkBytes: Int, on stage: any Stage) throws {
    // The start of an advice must lie on a page.
    let step = max(1, chunkBytes / systemPageSize) * systemPageSize
    for offset in stride(from: 0, to: bytes.count, by: step) {
      try stage.check()
      let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress! + offset)
      if madvise(start, min(step, bytes.count - offset), MADV_WILLNEED) != 0 { throw SystemError("madvise") }
    }
  }
}

/// Bytes of a page of this system.
public let systemPageSize = Int(sysconf(Int32(_SC_PAGESIZE)))

/// Brings a file into the page cache before the load.
func prewarm(_ path: String, _ prewarm: Job.Prewarm, on stage: any Stage) throws {
  switch prewarm {
  case .off: return
  case .advise(let chunkBytes): try MappedFile(path).advise(chunkBytes: chunkBytes, on: stage)
  case .touch(let chunkBytes): try MappedFile(path).touch(chunkBytes: chunkBytes, on: stage)
  }
}

/// Where a value goes whose computing is the point: the optimiser must not find out that nobody reads it.
@inline(never)
private func keep(_ value: UInt8) {
  lastTouched.value = Int64(value)
}

private let lastTouched = Gauge()
