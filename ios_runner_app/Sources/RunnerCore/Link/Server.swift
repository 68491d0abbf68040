#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// The listener on the phone's loopback (usbmux reaches it there) and the one connection to the host: accepts, the
/// newest replaces the old; reads lines; ticks. Knows lines, not what they mean.
///
/// After `init` it belongs to the thread that calls `serve`.
final class Server {
  static let loopback: UInt32 = 0x7F00_0001
  static let backlog: Int32 = 4
  static let readBytes = 64 * 1024
  /// A peer that sends nothing but nonsense is cut off: each refusal is an event on disk.
  static let maxRefusals = 100

  private struct Peer {
    let connection: Connection
    let splitter = LineSplitter()
    var refusals = 0
  }

  /// Takes a line; false when it was refused.
  typealias Handler = (LineSplitter.Line) -> Bool

  private let listener: Int32
  private let journal: Journal
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Server.readBytes, alignment: 16)
  private var peer: Peer?

  init(port: UInt16, journal: Journal) throws(SystemError) {
    self.journal = journal
    listener = socket(AF_INET, Posix.streamSocket, 0)
    if listener < 0 { throw SystemError("socket") }
    _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
    // Not blocking: a connection that is reset between poll and accept must not stop the heartbeats.
    _ = fcntl(listener, F_SETFL, O_NONBLOCK)
    // The port is taken over from a process that has just ended, whose connections still linger.
    var on: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = Self.loopback.bigEndian
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if bound != 0 || listen(listener, Self.backlog) != 0 {
      let error = SystemError("bind to port \(port)")
      close(listener)
      throw error
    }
  }

  deinit {
    close(listener)
    buffer.deallocate()
  }

  /// Serves for ever; `tick` is called every `tickNs`.
  func serve(tickNs: Int64, tick: () -> Void, handle: Handler) {
    var nextTickNs = monotonicNs()
    while true {
      let nowNs = monotonicNs()
      if nowNs >= nextTickNs {
        tick()
        nextTickNs = max(nextTickNs + tickNs, nowNs)
      }
      waitForPeer(untilNs: nextTickNs, handle)
    }
  }

  /// Goes on sending from a place in the journal.
  func send(from offset: Int) {
    peer?.connection.send(from: offset)
  }

  /// Closes the connection; politely means that everything written so far is sent first.
  func drop(politely: Bool) {
    guard let connection = peer?.connection else { return }
    peer = nil
    if politely { connection.finish() } else { connection.close() }
  }

  private func waitForPeer(untilNs: Int64, _ handle: Handler) {
    // An unused entry has a negative descriptor, which poll ignores.
    var listening = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    var reading = pollfd(fd: peer?.connection.socket ?? -1, events: Int16(POLLIN), revents: 0)
    let timeoutMs = Int32(max(0, (untilNs - monotonicNs() + 999_999) / 1_000_000))
    withUnsafeTemporaryAllocation(of: pollfd.self, capacity: 2) { entries in
      entries[0] = listening
      entries[1] = reading
      poll(entries.baseAddress!, 2, timeoutMs)
      listening = entries[0]
      reading = entries[1]
    }
    if reading.revents != 0 { read(handle) }
    if listening.revents != 0 { accept() }
  }

  private func accept() {
    let socket = systemAccept(listener)
    if socket < 0 { return }  // it was gone before we came
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    // On Darwin it inherits the listener's flag; the sender wants to block.
    _ = fcntl(socket, F_SETFL, 0)
    drop(politely: false)
    // Without a sender it cannot be served; the host sees the end and comes again.
    guard let connection = try? Connection(socket: socket, journal: journal) else { return }
    peer = Peer(connection: connection)
  }

  private func read(_ handle: Handler) {
    guard let splitter = peer?.splitter, let connection = peer?.connection else { return }
    let count = recv(connection.socket, buffer.baseAddress!, buffer.count, Int32(MSG_DONTWAIT))
    if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
    if count <= 0 { return drop(politely: false) }
    splitter.feed(UnsafeRawBufferPointer(rebasing: buffer.prefix(count))) { line in
      if !handle(line) {
        peer?.refusals += 1
        if peer?.refusals == Self.maxRefusals { drop(politely: true) }
      }
      return peer != nil
    }
  }
}

/// The class has a method of this name.
private func systemAccept(_ listener: Int32) -> Int32 { accept(listener, nil, nil) }
