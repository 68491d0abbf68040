#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// The journal: every event of the process, on disk before it is sent, and the source from which it is sent.
///
/// One append-only file. It begins as `process-<pid>.ndjson` and takes the trial's name when the trial begins, so it
/// always starts at seq 1. Connections read it like `tail -f`: a slow or gone host costs no memory and blocks nobody.
/// It is not fsynced: it survives the death of the process, which is what it is for, not a power cut.
public final class Journal: Sendable {
  /// Events between two index entries: what a resume has to skip line by line at most.
  static let indexEvery: Int64 = 256
  static let indexReserve = 8192
  /// Journals of processes that died before a trial, kept for the curious.
  static let staleJournalsKept = 8
  /// When the disk refuses, this much of the end is still kept in memory, so that the host can be told.
  static let overlayBytes = 1 << 20
  static let pendingBytes = 128 * 1024
  /// One read holds at least one whole line.
  public static let readBytes = 128 * 1024

  private struct State {
    var path: String
    let pending = ByteBuffer(capacity: Journal.pendingBytes)
    /// Bytes of the file that readers may see.
    var inFile = 0
    let overlay = ByteBuffer(capacity: Journal.overlayBytes)
    var index: [(seq: Int64, offset: Int)] = []
    var sent = 0
    var broken: SystemError?
    /// Changed by `wake`: whoever waits looks again.
    var wakes = 0

    var end: Int { inFile + overlay.count }
  }

  private let state: Monitor<State>
  private let file: Int32
  private let directory: String

  /// Makes `directory` and the file in it.
  public init(directory: String) throws(SystemError) {
    try Files.makeDirectory(directory)
    try Self.removeStale(directory)
    self.directory = directory
    var state = State(path: "\(directory)/\(Command.processJournalPrefix)\(getpid()).ndjson")
    state.index.reserveCapacity(Self.indexReserve)
    file = open(state.path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o644)
    if file < 0 { throw SystemError("open \(state.path)") }
    self.state = Monitor(state)
  }

  deinit { close(file) }

  /// Why the evidence can no longer be written; nil as long as it can.
  public var broken: SystemError? { state.withLock { $0.broken } }

  /// Offset after the last line that readers can see.
  public var end: Int { state.withLock { $0.end } }

  /// Where a trial's files are or would be; `suffix` as in `.ndjson`.
  public func trialPath(_ trial: String, _ suffix: String = ".ndjson") -> String {
    "\(directory)/\(trial)\(suffix)"
  }

  enum Flush {
    /// It may wait for the next one.
    case none
    /// It and all before it are written now, in one write(2).
    case write
    /// … and whoever sends is woken, which costs more than the writing.
    case writeAndTell
  }

  /// Adds one line, newline included.
  func append(_ seq: Int64, _ line: UnsafeRawBufferPointer, _ flush: Flush) {
    state.withLock { state in
      if seq % Self.indexEvery == 1 {
        state.index.append((seq, state.end + state.pending.count))
      }
      if state.pending.count + line.count > Self.pendingBytes { write(&state) }
      state.pending.append(line)
    }
    switch flush {
    case .none: return
    case .write: state.withLock { write(&$0) }
    case .writeAndTell: self.flush()
    }
  }

  /// Writes what is pending. A disk that refuses makes the journal `broken`; the rest stays in memory.
  func flush() {
    state.change { write(&$0) }
  }

  private func write(_ state: inout State) {
    let data = state.pending.bytes
    if data.isEmpty { return }
    var done = 0
    if state.broken == nil {
      done = writeAll(file, data)
      if done < data.count { state.broken = SystemError("write \(Files.name(of: state.path))") }
      state.inFile += done
    }
    let rest = UnsafeRawBufferPointer(rebasing: data.dropFirst(done))
    if state.overlay.count + rest.count <= Self.overlayBytes { state.overlay.append(rest) }
    state.pending.clear()
  }

  /// Gives the file the trial's name. False when that trial has a journal already.
  func rename(to trial: String) throws(SystemError) -> Bool {
    let target = trialPath(trial)
    if Files.exists(target) { return false }
    let failure: SystemError? = state.withLock { state in
      if systemRename(state.path, target) != 0 { return SystemError("rename \(state.path)") }
      state.path = target
      return nil
    }
    if let failure { throw failure }
    return true
  }

  /// Copies whole lines from `offset` (the beginning of a line) on; 0 at the end. `buffer` has `readBytes`.
  public func read(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard let base = buffer.baseAddress else { return 0 }
    // One look at the state: between two of them the file may have grown past `offset`.
    let (inFile, copied) = state.withLock { state in
      if offset < state.inFile { return (state.inFile, 0) }
      let rest = state.overlay.bytes.dropFirst(offset - state.inFile).prefix(buffer.count)
      if let start = rest.base.baseAddress, !rest.isEmpty { memcpy(base, start + rest.startIndex, rest.count) }
      return (0, rest.count)
    }
    if inFile == 0 { return copied }
    let count = pread(file, base, min(buffer.count, inFile - offset), off_t(offset))
    let data = UnsafeRawBufferPointer(start: base, count: max(0, count))
    return (data.lastIndex(of: 0x0A) ?? data.count - 1) + 1
  }

  /// Returns when there is something to read at `offset`, when `wake` was called, or after the time.
  func wait(_ offset: Int, timeoutNs: Int64) {
    let wakes = state.withLock { $0.wakes }
    _ = state.wait(timeoutNs: timeoutNs) { $0.end > offset || $0.wakes != wakes ? true : nil }
  }

  /// Lets all waiting readers look again.
  func wake() {
    state.change { $0.wakes += 1 }
  }

  /// The newest connection has got rid of everything before `offset`.
  func noteSent(_ offset: Int) {
    state.change { $0.sent = max($0.sent, offset) }
  }

  /// Waits until everything written by now is sent, at most for the time.
  func waitUntilSent(timeoutNs: Int64) {
    let end = self.end
    _ = state.wait(timeoutNs: timeoutNs) { $0.sent >= end ? true : nil }
  }

  /// Where line `seq` begins; nil if there is no such line. It must have been flushed.
  func offset(of seq: Int64) -> Int? {
    let entry = state.withLock { state in
      state.index.isEmpty ? nil : state.index[min(Int((seq - 1) / Self.indexEvery), state.index.count - 1)]
    }
    guard seq >= 1, var (at, offset) = entry else { return nil }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.readBytes, alignment: 16)
    defer { buffer.deallocate() }
    while at < seq {
      let count = read(offset, into: buffer)
      if count == 0 { return nil }
      for byte in buffer.prefix(count) {
        if at == seq { break }
        offset += 1
        if byte == 0x0A { at += 1 }
      }
    }
    return offset
  }

  /// Deletes all but the newest journals of processes that never got a trial.
  private static func removeStale(_ directory: String) throws(SystemError) {
    let stale = Files.list(directory)
      .filter { $0.hasPrefix(Command.processJournalPrefix) && $0.hasSuffix(".ndjson") }
      .map { (path: "\(directory)/\($0)", modifiedNs: (try? Files.identity("\(directory)/\($0)"))?.modifiedNs ?? 0) }
      .sorted { $0.modifiedNs < $1.modifiedNs }
    for journal in stale.dropLast(staleJournalsKept) { try Files.remove(journal.path) }
  }
}

/// The class has a method of this name.
private func systemRename(_ old: String, _ new: String) -> Int32 { rename(old, new) }
