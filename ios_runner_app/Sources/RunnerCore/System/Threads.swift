#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// What iOS gives a secondary thread. On Linux the usual 8 MiB a thread may already be too much for a memory limit.
public let helperStackBytes = 512 * 1024

/// Starts a detached thread. Whoever must know its end waits for something it does last.
public func startThread(
  _ name: String, stackBytes: Int = helperStackBytes, _ body: @escaping @Sendable () -> Void
) throws(SystemError) {
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  defer { pthread_attr_destroy(&attributes) }
  pthread_attr_setstacksize(&attributes, stackBytes)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  let work = Unmanaged.passRetained(ThreadWork(name, body))
  #if canImport(Darwin)
    var thread: pthread_t?
    let code = pthread_create(&thread, &attributes, { runWork($0) }, work.toOpaque())
  #else
    var thread = pthread_t()
    let code = pthread_create(&thread, &attributes, { runWork($0!) }, work.toOpaque())
  #endif
  if code != 0 {
    work.release()
    throw SystemError("pthread_create \(name)", code: code)
  }
}

private func runWork(_ pointer: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  let work = Unmanaged<ThreadWork>.fromOpaque(pointer).takeRetainedValue()
  Posix.nameThisThread(work.name)
  work.body()
  return nil
}

private final class ThreadWork: Sendable {
  let name: String
  let body: @Sendable () -> Void

  init(_ name: String, _ body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}
