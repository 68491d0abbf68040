@preconcurrency import Darwin
import Foundation
import RunnerCore
import RunnerEngines

/// Puts the runner together from what a phone has. RunnerLinux does the same for a virtual one.
enum PhoneApp {
  /// The trial's thread calls the engines, which expect what a main thread has on other systems. Untouched pages of it
  /// cost nothing.
  private static let trialStackBytes = 8 << 20

  /// Starts to listen, and to wait for a trial. The process ends when the host lets it go.
  static func start(thermal: Gauge) throws(SetupError) -> RunnerApp {
    let bundle = try BundleNote()
    let memory = MemoryDarwin(thermal: thermal)
    let app = try RunnerApp(
      RunnerApp.Configuration(
        home: try home(), port: try port(), build: bundle.build, device: try device(),
        engines: engines(bundle, memory), memory: memory, condition: { condition }))
    try app.start()
    do throws(SystemError) {
      try startThread("trial", stackBytes: trialStackBytes) {
        // What a person who waits for the app would get; without it the scheduler may choose the slow cores.
        pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0)
        app.runTrials()
        // Everything said is on disk and sent. The engines' threads may still live: their destructors must not run
        // under them, and a crash now would be read as the trial's end.
        _exit(0)
      }
    } catch {
      throw SetupError("\(error)")
    }
    return app
  }

  /// The phone's state at this moment.
  static var condition: PhoneCondition {
    let process = ProcessInfo.processInfo
    return PhoneCondition(thermal: Int64(process.thermalState.rawValue), lowPower: process.isLowPowerModeEnabled)
  }

  /// The app cannot run: the console that the host reads gets the reason.
  static func end(_ error: SetupError) -> Never {
    Array("runner: \(error)\n".utf8).withUnsafeBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(error.code)
  }

  private static func engines(_ bundle: BundleNote, _ memory: MemoryDarwin) -> [EngineKind] {
    [
      MediaPipeEngine.kind(version: bundle.version(of: "mediapipe"), memory: memory),
      // Linked into the app: found among what is loaded already.
      LiteRTLMEngine.kind(version: bundle.version(of: "litert_lm"), libraryPath: nil),
    ] + Floors.kinds
  }

  private static func home() throws(SetupError) -> String {
    guard let home = Files.resolved(NSHomeDirectory()) else { throw SetupError("the app has no data container") }
    return home
  }

  private static func port() throws(SetupError) -> UInt16 {
    guard let text = ProcessInfo.processInfo.environment[RunnerApp.portVariable] else { return RunnerApp.defaultPort }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text), port > 0 else {
      throw SetupError("\(RunnerApp.portVariable) must be a port from 1 to 65535, got '\(text)'")
    }
    return port
  }

  private static func device() throws(SetupError) -> DeviceFacts {
    var ram: Int64 = 0
    var size = MemoryLayout<Int64>.size
    if sysctlbyname("hw.memsize", &ram, &size, nil, 0) != 0 {
      throw SetupError("\(SystemError("sysctl hw.memsize"))")
    }
    return DeviceFacts(
      platform: "ios", hwMachine: try systemText("hw.machine"), osBuild: try systemText("kern.osversion"),
      ramBytes: ram)
  }

  private static func systemText(_ name: String) throws(SetupError) -> String {
    var size = 256
    var text = [CChar](repeating: 0, count: size)
    if sysctlbyname(name, &text, &size, nil, 0) != 0 { throw SetupError("\(SystemError("sysctl \(name)"))") }
    return text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }
}
