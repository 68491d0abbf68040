import RunnerEngines
import Testing

@testable import RunnerCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The whole app inside this process, over a real socket, so that the thread sanitizer sees all of its threads.
@Suite(.serialized) struct AppTests {
  @Test func aTrialFromHelloToResult() throws {
    let app = try TestApp()
    let host = try TestHost(app.port)
    host.send(#"{"v":1,"cmd":"hello","host_t":1}"#)
    #expect(try host.until("hello")["state"] == .string("idle"))
    let job =
      #"{"model":"model.bin","engine":"read","backend":"cpu","cache":"none","sample_hz":1000,"hold_ms":50,"warmup":true}"#
    host.send(#"{"cmd":"run","trial":"t1","job":\#(job)}"#)
    let result = try host.until("result")
    #expect(result["trial"] == .string("t1"))
    guard case .object(let durations) = result["durations_ns"] else { throw JSONError(description: "no durations") }
    #expect(durations.map(\.name) == ["warmup", "read", "hold", "unload", "settle"])
    host.send(#"{"cmd":"bye"}"#)
    #expect(app.hasEnded())
  }

  @Test func copiesAreLoadedOneAfterAnother() throws {
    let app = try TestApp()
    let host = try TestHost(app.port)
    let job =
      #"{"model":"model.bin","engine":"read","backend":"cpu","cache":"none","sample_hz":1000,"copies":3,"warmup":true}"#
    host.send(#"{"cmd":"run","trial":"t1","job":\#(job)}"#)
    for number in 2...3 {
      var phase = try host.until("phase")
      while phase["name"] != .string("copy") || phase["edge"] != .string("end") { phase = try host.until("phase") }
      #expect(phase["detail"] == .string("copy \(number) of 3"))
    }
    let result = try host.until("result")
    guard case .object(let durations) = result["durations_ns"] else { throw JSONError(description: "no durations") }
    #expect(durations.map(\.name) == ["warmup", "read", "copy", "unload", "settle"])
    #expect(result["load_ns"] == result["durations_ns"]?["read"])
    host.send(#"{"cmd":"bye"}"#)
    #expect(app.hasEnded())
  }

  @Test func aCancelDuringTheHold() throws {
    let app = try TestApp()
    let host = try TestHost(app.port)
    let job = #"{"model":"model.bin","engine":"mmap","backend":"cpu","cache":"none","sample_hz":200,"hold_ms":600000}"#
    host.send(#"{"cmd":"run","trial":"t1","job":\#(job)}"#)
    while try host.until("phase")["name"] != .string("hold") {}
    // The newest connection replaces the old, and hears everything again.
    let other = try TestHost(app.port)
    other.send(#"{"cmd":"resume","from_seq":1}"#)
    other.send(#"{"cmd":"cancel"}"#)
    #expect(try other.until("result")["cancelled"] == .bool(true))
    #expect(app.status.state == "finished")
    other.send(#"{"cmd":"bye"}"#)
    #expect(app.hasEnded())
  }

  @Test func nonsenseAndAGuardWithoutALimit() throws {
    let app = try TestApp()
    let host = try TestHost(app.port)
    host.send("nonsense")
    #expect(try host.until("error")["kind"] == .string("bad_json"))
    let job =
      #"{"model":"model.bin","engine":"mmap","backend":"cpu","cache":"none","sample_hz":1,"guard":{"reserve_bytes":1}}"#
    host.send(#"{"cmd":"run","trial":"t1","job":\#(job)}"#)
    #expect(try host.until("error")["kind"] == .string("bad_job"))
    host.send(#"{"cmd":"bye"}"#)
    #expect(app.hasEnded())
  }
}

/// Below it lie the homes of this process's apps; gone when it ends.
private let base: String = {
  atexit { try? Files.removeTree("/tmp/runner-app-tests-\(ownPID)") }
  return "/tmp/runner-app-tests-\(ownPID)"
}()

/// An app with the floors and a megabyte of model, which runs its trial on a thread of its own.
private struct TestApp {
  let port: UInt16
  private let app: RunnerApp
  private let ended = Monitor(false)

  var status: RunnerApp.Status { app.status }

  init() throws {
    let home = "\(base)/\(SystemRandomNumberGenerator.number())"
    try Files.makeDirectory("\(home)/Documents")
    try Files.write("\(home)/Documents/model.bin", [UInt8](repeating: 7, count: 1 << 20))
    (app, port) = try Self.listening(home)
    let (app, ended) = (self.app, self.ended)
    try app.start()
    try startThread("trials") {
      app.runTrials()
      ended.change { $0 = true }
    }
  }

  /// The app listens on a port by number, so a free one is guessed.
  private static func listening(_ home: String) throws -> (RunnerApp, UInt16) {
    for _ in 0..<50 {
      let port = UInt16.random(in: 20000...30000)
      let device = DeviceFacts(platform: "test", hwMachine: "m", osBuild: "b", ramBytes: 1)
      var configuration = RunnerApp.Configuration(
        home: home, port: port, build: BuildInfo(), device: device, engines: Floors.kinds, memory: NoLimit())
      configuration.stderrDescriptor = dup(STDERR_FILENO)
      if let app = try? RunnerApp(configuration) { return (app, port) }
    }
    throw JSONError(description: "no free port")
  }

  func hasEnded() -> Bool {
    ended.wait(timeoutNs: 60 * nanosecondsPerSecond) { $0 ? true : nil } ?? false
  }
}

private struct NoLimit: MemoryProducer {
  func read() -> MemoryReading {
    var reading = MemoryReading()
    reading.footprint = 1
    return reading
  }

  func peaks() -> KernelPeaks { KernelPeaks() }
}

extension SystemRandomNumberGenerator {
  fileprivate static func number() -> UInt64 {
    var dice = SystemRandomNumberGenerator()
    return dice.next()
  }
}

/// One connection: lines out, events in.
private final class TestHost {
  private let socket: Int32
  private var pending: [UInt8] = []

  init(_ port: UInt16) throws {
    #if canImport(Darwin)
      socket = Darwin.socket(AF_INET, SOCK_STREAM, 0)
    #else
      socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let done = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if done != 0 { throw SystemError("connect") }
  }

  deinit { close(socket) }

  func send(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(socket, $0.baseAddress!, $0.count) }
  }

  /// Reads up to the first event of this name.
  func until(_ name: String) throws -> JSONValue {
    while true {
      while let newline = pending.firstIndex(of: 0x0A) {
        let event = try JSONParser.parse(Array(pending[..<newline]))
        pending.removeSubrange(...newline)
        if event["ev"] == .string(name) { return event }
      }
      var buffer = [UInt8](repeating: 0, count: 65536)
      let count = read(socket, &buffer, buffer.count)
      if count <= 0 { throw SystemError("read") }
      pending += buffer.prefix(count)
    }
  }
}
