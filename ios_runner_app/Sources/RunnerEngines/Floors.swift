import RunnerCore

#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// The two floors: no engine at all, only the file brought into memory. What every real engine costs lies above them.
public enum Floors {
  static let version = "1"
  static let chunkBytes = 1 << 20
  static let backend = EffectiveBackend("cpu", how: "this floor only reads the file")

  public static let kinds = [
    EngineKind(name: "mmap", version: version) { MmapFloor(model: $0.model) },
    EngineKind(name: "read", version: version) { ReadFloor(model: $0.model) },
  ]
}

/// Maps the file read-only and reads every page once: clean, file-backed memory.
final class MmapFloor: Engine {
  private let model: String
  private var mapped: MappedFile?

  init(model: String) {
    self.model = model
  }

  func load(on stage: any Stage) throws {
    try stage.phase(.map) { _ in
      do throws(SystemError) {
        mapped = try MappedFile(model)
      } catch {
        throw EngineError(.loadError, "mmap of \(Files.name(of: model)): \(error)")
      }
      try mapped?.touch(chunkBytes: Floors.chunkBytes, on: stage)
    }
  }

  func effectiveBackend() -> EffectiveBackend { Floors.backend }
  func generate(on stage: any Stage) -> Generation? { nil }
  func unload() { mapped = nil }
}

/// Reads the whole file into anonymous memory, which counts towards the footprint.
final class ReadFloor: Engine {
  private let model: String
  private var held: AnonymousFile?

  init(model: String) {
    self.model = model
  }

  func load(on stage: any Stage) throws {
    try stage.phase(.read) { _ in
      do {
        // The footprint shows how far the reading is.
        held = try AnonymousFile(model, on: stage) { _ in }
      } catch let error as SystemError {
        throw EngineError(.loadError, "read of \(Files.name(of: model)): \(error)")
      }
    }
  }

  func effectiveBackend() -> EffectiveBackend { Floors.backend }
  func generate(on stage: any Stage) -> Generation? { nil }
  func unload() { held = nil }
}

/// A file's bytes in anonymous memory: what counts as this process's own, unlike a mapping of the file.
final class AnonymousFile {
  private let base: UnsafeMutableRawPointer
  let size: Int

  /// Reads the file, telling after each chunk how many bytes are there. Throws `SystemError` and what `check` throws;
  /// then nothing is held.
  init(_ path: String, on stage: any Stage, told: (Int) -> Void) throws {
    size = Int(try Files.identity(path).bytes)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { throw SystemError("open") }
    defer { close(file) }
    // A mapping, not an array: nothing is touched before it is read into.
    let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else { throw SystemError("mmap of \(size) bytes") }
    base = memory
    do {
      var done = 0
      while done < size {
        try stage.check()
        let count = read(file, base + done, min(Floors.chunkBytes, size - done))
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw SystemError("read") }
        if count == 0 { throw EngineError(.loadError, "\(Files.name(of: path)) ended at \(done) of \(size) bytes") }
        done += count
        told(done)
      }
    } catch {
      munmap(base, size)
      throw error
    }
  }

  deinit { munmap(base, size) }
}
