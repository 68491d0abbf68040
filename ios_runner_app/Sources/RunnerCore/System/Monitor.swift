#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// A value that threads share: it is reached only under a lock, and one can wait until it is as wanted.
///
/// The standard library's `Mutex` needs iOS 18; the runner supports iOS 15. Nothing is allocated after `init`: under a
/// hard memory limit a thread of ours that asks for memory would be the one that dies, and hide the engine's own end.
public final class Monitor<Value>: @unchecked Sendable {
  // @unchecked: `value` is touched only between lock and unlock of `mutex`.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var value: Value

  public init(_ value: Value) {
    self.value = value
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    condition.initialize(to: pthread_cond_t())
    #if canImport(Darwin)
      pthread_cond_init(condition, nil)
    #else
      var attributes = pthread_condattr_t()
      pthread_condattr_init(&attributes)
      pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
      pthread_cond_init(condition, &attributes)
      pthread_condattr_destroy(&attributes)
    #endif
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Reads or changes the value. Not recursive.
  @inline(__always)
  public func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }

  /// Changes the value and lets everybody who waits look again.
  public func change<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    pthread_mutex_lock(mutex)
    defer {
      pthread_cond_broadcast(condition)
      pthread_mutex_unlock(mutex)
    }
    return try body(&value)
  }

  /// Waits until `ready` gives something, at most `timeoutNs`; nil when the time is over.
  public func wait<Result>(timeoutNs: Int64, _ ready: (inout Value) -> Result?) -> Result? {
    let deadlineNs = monotonicNs() &+ max(0, timeoutNs)
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let result = ready(&value) {
        return result
      }
      let leftNs = deadlineNs - monotonicNs()
      if leftNs <= 0 {
        return nil
      }
      sleepLocked(leftNs: leftNs, deadlineNs: deadlineNs)
    }
  }

  private func sleepLocked(leftNs: Int64, deadlineNs: Int64) {
    #if canImport(Darwin)
      var left = timespec(
        tv_sec: Int(leftNs / nanosecondsPerSecond), tv_nsec: Int(leftNs % nanosecondsPerSecond))
      pthread_cond_timedwait_relative_np(condition, mutex, &left)
    #else
      var deadline = timespec(
        tv_sec: Int(deadlineNs / nanosecondsPerSecond), tv_nsec: Int(deadlineNs % nanosecondsPerSecond))
      pthread_cond_timedwait(condition, mutex, &deadline)
    #endif
  }
}
