import Glibc
import RunnerCore
import RunnerEngines

/// Puts the app together from its bundle and the environment that the phone gives it.
enum LinuxApp {
  private static let homeVariable = "HOME"
  private static let limitVariable = "VIRTUAL_FOOTPRINT_LIMIT_BYTES"
  private static let machineVariable = "VIRTUAL_HW_MACHINE"
  private static let buildVariable = "VIRTUAL_OS_BUILD"
  private static let ramVariable = "VIRTUAL_RAM_BYTES"

  static func run() throws(SetupError) -> Never {
    guard let given = variable(homeVariable), let home = Files.resolved(given), Files.isDirectory(home) else {
      throw SetupError("\(homeVariable) must name the app's data container")
    }
    let port = try self.port()
    NoticesLinux.holdMemoryWarnings()
    let system = try variable(SystemStateLinux.variable).map { (path) throws(SetupError) in
      try SystemStateLinux(path: path)
    }
    let gpu = try EmulatedGPU.offered(variable(EmulatedGPU.variable))
    let bundle = try BundleNote.read()
    let app = try RunnerApp(
      RunnerApp.Configuration(
        home: home, port: port, build: bundle.build, device: try device(), engines: bundle.engines(gpu) + Floors.kinds,
        memory: try memory(gpu, system), condition: { system?.condition ?? PhoneCondition() }))
    do throws(SystemError) {
      try NoticesLinux.watch(system) { app.notice($0, $1) }
    } catch {
      throw SetupError("\(error)")
    }
    try app.start()
    app.runTrials()
    // Everything said is on disk and sent. The engine's own threads may still live: running its destructors under them
    // could crash, and a crash report would be read as the trial's end.
    _exit(0)
  }

  private static func memory(_ gpu: EmulatedGPU?, _ system: SystemStateLinux?) throws(SetupError) -> MemoryLinux {
    let limitBytes = try integer(limitVariable)
    do throws(SystemError) {
      return try MemoryLinux(limitBytes: limitBytes, metal: gpu?.allocated, thermal: system?.thermal)
    } catch {
      throw SetupError("\(error)")
    }
  }

  /// A virtual iPhone says through the environment which phone it is.
  private static func device() throws(SetupError) -> DeviceFacts {
    var system = utsname()
    uname(&system)
    let ram = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(systemPageSize)
    return DeviceFacts(
      platform: "linux", hwMachine: variable(machineVariable) ?? text(&system.machine),
      osBuild: variable(buildVariable) ?? text(&system.release), ramBytes: try integer(ramVariable) ?? ram)
  }

  private static func port() throws(SetupError) -> UInt16 {
    guard let text = variable(RunnerApp.portVariable) else { return RunnerApp.defaultPort }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text), port > 0 else {
      throw SetupError("\(RunnerApp.portVariable) must be a port from 1 to 65535, got '\(text)'")
    }
    return port
  }

  /// nil when it is not set. Anything but a number is a mistake of the phone's and must not look like "no limit".
  private static func integer(_ name: String) throws(SetupError) -> Int64? {
    guard let text = variable(name) else { return nil }
    guard let value = Int64(text) else { throw SetupError("\(name) must be a number of bytes, got '\(text)'") }
    return value
  }

  private static func variable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  private static func text<Field>(_ field: inout Field) -> String {
    withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
