// The app that a virtual iPhone runs: the same runner, with Linux's readings and what a virtual phone tells its apps.

import Glibc
import RunnerCore

do {
  try LinuxApp.run()
} catch {
  // The executable cannot start: the phone's console gets the reason.
  Array("runner: \(error)\n".utf8).withUnsafeBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(error.code)
}
