#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// One accepted connection. Reading happens on the server's thread; sending on a thread of its own that follows the
/// journal like `tail -f`, so a host that reads slowly or is gone holds up nothing but its own sender.
final class Connection: Sendable {
  /// How long the sender sleeps at most before it looks for more.
  static let waitNs: Int64 = 500_000_000
  /// After `bye` the sender may take this long to get rid of what is written.
  static let drainNs: Int64 = 2_000_000_000

  private struct State {
    var offset: Int
    /// Send up to here, then end.
    var last: Int?
    var closed = false
    var ended = false
  }

  let socket: Int32
  private let journal: Journal
  private let state: Monitor<State>

  /// Takes the socket over, and begins with what happens from now on.
  init(socket: Int32, journal: Journal) throws(SystemError) {
    self.socket = socket
    self.journal = journal
    state = Monitor(State(offset: journal.end))
    var on: Int32 = 1
    setsockopt(socket, Posix.tcpProtocol, TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    Posix.silenceBrokenPipe(socket)
    // The thread holds the connection, so the descriptor cannot become another's while it sends.
    try startThread("sender") { self.send() }
  }

  // The last to let go closes: until then the descriptor's number cannot be given to another socket.
  deinit { _ = systemClose(socket) }

  /// Goes on sending from another place in the journal, the beginning of a line.
  func send(from offset: Int) {
    state.withLock { $0.offset = offset }
    journal.wake()
  }

  /// Sends what the journal has by now, then closes. Takes at most `drainNs`.
  func finish() {
    let end = journal.end
    state.withLock { $0.last = end }
    journal.wake()
    _ = state.wait(timeoutNs: Self.drainNs) { $0.ended ? true : nil }
    close()
  }

  /// Closes at once; a send in progress fails. Allowed twice.
  func close() {
    state.withLock { $0.closed = true }
    shutdown(socket, Posix.shutdownBoth)
    journal.wake()
  }

  private func send() {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Journal.readBytes, alignment: 16)
    defer {
      buffer.deallocate()
      state.change { $0.ended = true }
    }
    while let (offset, last) = state.withLock({ $0.closed ? nil : ($0.offset, $0.last) }) {
      if let last, offset >= last { return }
      let count = journal.read(offset, into: buffer)
      if count == 0 {
        journal.wait(offset, timeoutNs: Self.waitNs)
        continue
      }
      // A host that is gone: the reading side sees it too.
      if !sendAll(UnsafeRawBufferPointer(rebasing: buffer.prefix(count))) { return }
      state.withLock { state in
        if state.offset == offset { state.offset = offset + count }
      }
      journal.noteSent(offset + count)
    }
  }

  private func sendAll(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = systemSend(socket, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return false }
      done += count
    }
    return true
  }
}

// The class has methods of these names.
private func systemClose(_ file: Int32) -> Int32 { close(file) }
private func systemSend(_ socket: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
  send(socket, bytes, count, Posix.noSignal)
}
