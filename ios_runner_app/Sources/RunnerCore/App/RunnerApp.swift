#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// The app: starts the listener, answers the host, runs one trial on the thread that calls `runTrials`.
public final class RunnerApp: Sendable {
  public static let portVariable = "RUNNER_PORT"
  public static let defaultPort: UInt16 = 18017
  /// The protocol asks for one a second; twice that leaves room for a busy machine.
  static let heartbeatNs: Int64 = 500_000_000

  /// Everything that differs between a phone and Linux.
  public struct Configuration: Sendable {
    /// The data container; `Documents` and `Library` lie below it.
    public var home: String
    public var port: UInt16
    public var build: BuildInfo
    public var device: DeviceFacts
    public var engines: [EngineKind]
    public var memory: any MemoryProducer
    /// Asked at every `hello`.
    public var condition: @Sendable () -> PhoneCondition
    /// Where engines write their words. Something else only where the process is not the app's own, as in tests.
    public var stderrDescriptor = STDERR_FILENO

    public init(
      home: String, port: UInt16, build: BuildInfo, device: DeviceFacts, engines: [EngineKind],
      memory: any MemoryProducer, condition: @escaping @Sendable () -> PhoneCondition = { PhoneCondition() }
    ) {
      self.home = home
      self.port = port
      self.build = build
      self.device = device
      self.engines = engines
      self.memory = memory
      self.condition = condition
    }
  }

  /// What a status screen shows.
  public struct Status: Equatable, Sendable {
    /// `idle`, `running` or `finished`.
    public let state: String
    public let trial: String?
    public let phase: String?
    public let footprint: Int64?
    public let limit: Int64?
  }

  struct State {
    var lifecycle = Lifecycle.idle
    var trial: Trial?
    var letGo = false
  }

  let configuration: Configuration
  let events: EventLog
  let state = Monitor(State())

  /// Makes the journal and listens. Throws with the exit code that an executable ends with.
  public init(_ configuration: Configuration) throws(SetupError) {
    self.configuration = configuration
    let server: Server
    do {
      let journal = try Journal(directory: "\(configuration.home)/Documents/trials")
      events = EventLog(journal)
      server = try Server(port: configuration.port, journal: journal)
    } catch {
      if error.code == EADDRINUSE {
        let remedy = "set \(Self.portVariable) to a free one"
        throw SetupError("port \(configuration.port) is taken: \(remedy)", code: SetupError.portTaken)
      }
      throw SetupError("\(error)")
    }
    waiting = Monitor(server)
  }

  /// The server until its thread takes it.
  private let waiting: Monitor<Server?>

  /// Begins to answer the host, on a thread of its own.
  public func start() throws(SetupError) {
    do {
      try startThread("server") {
        guard
          let server = self.waiting.withLock({ server in
            defer { server = nil }
            return server
          })
        else { return }
        server.serve(tickNs: Self.heartbeatNs, tick: self.heartbeat) { line in self.handle(line, server) }
      }
    } catch {
      throw SetupError("\(error)")
    }
  }

  /// Runs the trial when it comes, and returns when the host lets the app go.
  public func runTrials() {
    while true {
      let next: (trial: Trial?, letGo: Bool)? = state.wait(timeoutNs: nanosecondsPerSecond) { state in
        state.letGo ? (nil, true) : state.trial.map { ($0, false) }
      }
      guard let next else { continue }
      next.trial?.run()
      break
    }
    while state.wait(timeoutNs: nanosecondsPerSecond, { $0.letGo ? true : nil }) == nil {}
  }

  /// Tells the host something that the system told the app: `memory_warning`, `memory_pressure`, `thermal`, `low_power`.
  public func notice(_ kind: String, _ text: String?) {
    events.emit("notice") { event in
      event.field("kind", kind)
      event.field("text", text)
    }
  }

  public var status: Status {
    let (lifecycle, trial) = state.withLock { ($0.lifecycle, $0.trial) }
    let reading = configuration.memory.read()
    return Status(
      state: lifecycle.wireName, trial: trial?.name, phase: trial?.state.withLock { $0.phase }?.rawValue,
      footprint: reading.footprint, limit: reading.limit)
  }

  private func heartbeat() {
    let trial = state.withLock { $0.trial }
    let phase = trial?.state.withLock { $0.phase }
    events.emit("heartbeat") { $0.field("phase", phase?.rawValue) }
  }
}
