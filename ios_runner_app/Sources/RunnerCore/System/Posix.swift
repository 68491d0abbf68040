// Everything that the two C libraries name or declare differently, and nothing else: the rest of the app is the same
// source on a phone and on Linux.

#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// A system call said no. `description` names the call and gives the system's own words.
public struct SystemError: Error, Equatable, CustomStringConvertible {
  public let call: String
  public let code: Int32

  /// Takes `errno` as the failed call has left it.
  public init(_ call: String, code: Int32 = errno) {
    self.call = call
    self.code = code
  }

  public var description: String { "\(call): \(String(cString: strerror(code)))" }
}

/// Nanoseconds of one second.
public let nanosecondsPerSecond: Int64 = 1_000_000_000

/// The clock of every event: monotonic, nanoseconds, and on a phone the base of `mach_absolute_time`.
@inline(__always)
public func monotonicNs() -> Int64 {
  #if canImport(Darwin)
    return Int64(clock_gettime_nsec_np(CLOCK_UPTIME_RAW))
  #else
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) &* nanosecondsPerSecond &+ Int64(time.tv_nsec)
  #endif
}

/// Sleeps until a moment of that clock; returns at once when it has passed.
public func sleepUntil(_ deadlineNs: Int64) {
  #if canImport(Darwin)
    var timebase = mach_timebase_info_data_t()
    mach_timebase_info(&timebase)
    _ = mach_wait_until(UInt64(deadlineNs) &* UInt64(timebase.denom) / UInt64(timebase.numer))
  #else
    var time = timespec(
      tv_sec: Int(deadlineNs / nanosecondsPerSecond), tv_nsec: Int(deadlineNs % nanosecondsPerSecond))
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
  #endif
}

/// CPU time of the whole process, nanoseconds.
public func processCPUNs() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Int64(time.tv_sec) &* nanosecondsPerSecond &+ Int64(time.tv_nsec)
}

enum Posix {
  #if canImport(Darwin)
    static let streamSocket = SOCK_STREAM
    static let tcpProtocol = IPPROTO_TCP
    static let shutdownBoth = SHUT_RDWR
    /// Darwin has it as a socket option instead.
    static let noSignal: Int32 = 0
  #else
    static let streamSocket = Int32(SOCK_STREAM.rawValue)
    static let tcpProtocol = Int32(IPPROTO_TCP)
    static let shutdownBoth = Int32(SHUT_RDWR)
    static let noSignal = Int32(MSG_NOSIGNAL)
  #endif

  /// A peer that is gone must be an error of `send`, not a signal that ends the app.
  static func silenceBrokenPipe(_ socket: Int32) {
    #if canImport(Darwin)
      var on: Int32 = 1
      setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, socklen_t(MemoryLayout<Int32>.size))
    #endif
  }

  /// When a file was last changed, nanoseconds since 1970.
  static func modifiedNs(_ status: stat) -> Int64 {
    #if canImport(Darwin)
      let time = status.st_mtimespec
    #else
      let time = status.st_mtim
    #endif
    return Int64(time.tv_sec) * nanosecondsPerSecond + Int64(time.tv_nsec)
  }

  static func nameThisThread(_ name: String) {
    #if canImport(Darwin)
      pthread_setname_np(name)
    #else
      // The C library's call is a GNU extension that the module map hides.
      let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
      if file < 0 { return }
      _ = Array(name.utf8).withUnsafeBytes { writeAll(file, $0) }
      close(file)
    #endif
  }
}

/// This process's number.
let ownPID = getpid()
