#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// Keeps what the engine writes to standard error: in a file that survives the process, and as `log` events.
///
/// C++ runtimes say their last words there ("terminating due to uncaught exception …") when no thread of ours runs any
/// more: the file has them, the events may not.
final class StderrCapture: Sendable {
  static let pollNs: Int64 = 50_000_000
  static let maxLineBytes = 4096
  /// Log events a trial; the file keeps everything.
  static let maxLines = 1000
  static let readBytes = 16 * 1024

  private struct State {
    var stop = false
    var ended = false
  }

  private let state = Monitor(State())

  /// Redirects `descriptor` (the process's standard error) to `path` for the rest of the process's life, and begins to report its lines.
  init(descriptor: Int32, path: String, tell: @escaping @Sendable (_ line: String, _ truncated: Bool) -> Void)
    throws(SystemError)
  {
    let writer = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    if writer < 0 { throw SystemError("open \(path)") }
    defer { close(writer) }
    let reader = open(path, O_RDONLY | O_CLOEXEC)
    if reader < 0 { throw SystemError("open \(path)") }
    if dup2(writer, descriptor) < 0 { throw SystemError("dup2") }
    let state = self.state
    try startThread("stderr") {
      let lines = CapturedLines(file: reader, fileName: Files.name(of: path), tell: tell)
      while state.wait(timeoutNs: Self.pollNs, { $0.stop ? true : nil }) == nil { lines.drain() }
      lines.finish()
      state.change { $0.ended = true }
    }
  }

  /// Reports what is left and stops watching; the redirection stays, for what may still be said.
  func stop() {
    state.change { $0.stop = true }
    while state.wait(timeoutNs: nanosecondsPerSecond, { $0.ended ? true : nil }) == nil {}
  }
}

/// What was read of the file and not yet told. Belongs to the capture's thread.
private final class CapturedLines {
  private let file: Int32
  private let fileName: String
  private let tell: (String, Bool) -> Void
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: StderrCapture.readBytes, alignment: 16)
  private let held = ByteBuffer(capacity: StderrCapture.maxLineBytes)
  private var cut = false
  private var count = 0

  init(file: Int32, fileName: String, tell: @escaping (String, Bool) -> Void) {
    self.file = file
    self.fileName = fileName
    self.tell = tell
  }

  deinit {
    buffer.deallocate()
    close(file)
  }

  func drain() {
    while true {
      let read = systemRead(file, buffer.baseAddress!, buffer.count)
      if read <= 0 { return }
      var rest = buffer[..<read]
      while let newline = rest.firstIndex(of: 0x0A) {
        hold(UnsafeRawBufferPointer(rebasing: rest[..<newline]))
        endLine()
        rest = rest[(newline + 1)...]
      }
      hold(UnsafeRawBufferPointer(rebasing: rest))
    }
  }

  func finish() {
    drain()
    endLine()
  }

  private func hold(_ piece: UnsafeRawBufferPointer) {
    let room = StderrCapture.maxLineBytes - held.count
    cut = cut || piece.count > room
    held.append(UnsafeRawBufferPointer(rebasing: piece.prefix(room)))
  }

  private func endLine() {
    if held.count == 0 && !cut { return }
    count += 1
    if count < StderrCapture.maxLines {
      tell(String(decoding: held.bytes, as: UTF8.self), cut)
    } else if count == StderrCapture.maxLines {
      tell("(more than \(StderrCapture.maxLines) lines: the rest is only in \(fileName))", true)
    }
    held.clear()
    cut = false
  }
}
