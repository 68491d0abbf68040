import Glibc
import RunnerCore

/// What the phone tells a running app unasked: memory warnings (SIGUSR1 on a virtual phone), thermal state, Low Power
/// Mode. The signal is blocked in every thread and one thread waits for it.
enum NoticesLinux {
  private static let memoryWarning = SIGUSR1
  /// How often the phone's state is looked at.
  private static let pollNs = 500_000_000

  /// Keeps memory warnings for `watch`. Call it on the main thread before any other thread exists.
  ///
  /// The handler is never run. It is there because a phone warns only apps that catch the signal (SigCgt in /proc), and
  /// a blocked one does not count as caught.
  static func holdMemoryWarnings() {
    var warnings = warningSet()
    pthread_sigmask(SIG_BLOCK, &warnings, nil)
    signal(memoryWarning) { _ in }
  }

  /// Begins to tell; a warning that came since `holdMemoryWarnings` is told first.
  static func watch(
    _ system: SystemStateLinux?, tell: @escaping @Sendable (_ kind: String, _ text: String?) -> Void
  ) throws(SystemError) {
    try startThread("notices") {
      while true {
        var warnings = warningSet()
        var timeout = timespec(tv_sec: 0, tv_nsec: pollNs)
        if sigtimedwait(&warnings, nil, &timeout) == memoryWarning { tell("memory_warning", nil) }
        system?.refresh { tell($0, $1) }
      }
    }
  }

  private static func warningSet() -> sigset_t {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, memoryWarning)
    return signals
  }
}
