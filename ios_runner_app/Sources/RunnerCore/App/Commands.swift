// The host's commands, carried out on the server's thread.

extension RunnerApp {
  /// Answers a line; false when it was refused.
  func handle(_ line: LineSplitter.Line, _ server: Server) -> Bool {
    do {
      switch line {
      case .tooLong: throw Refusal(.tooLong, "a line has at most \(LineSplitter.maxLineBytes) bytes")
      case .whole(let bytes): try obey(try Command.decode(bytes), server)
      }
      return true
    } catch let refusal as Refusal {
      events.emit("error") { event in
        event.field("kind", refusal.kind.rawValue)
        event.field("message", bounded(refusal.message))
        event.field("phase", String?.none)
        event.field("trial", refusal.trial)
      }
      return false
    } catch {
      return false  // nothing above throws anything else
    }
  }

  private func obey(_ command: Command, _ server: Server) throws(Refusal) {
    switch command {
    case .hello: hello()
    case .ping(let hostT): events.emit("pong") { $0.field("host_t", hostT) }
    case .run(let trial, let job): try begin(trial, job)
    case .resume(let fromSeq): server.send(from: try events.offset(of: fromSeq))
    case .cancel:
      if case .refuse(let kind) = state.withLock({ $0.lifecycle.move(.cancel) }) {
        throw Refusal(kind, "there is no trial to cancel")
      }
      state.withLock { $0.trial }?.cancel()
    case .bye:
      server.drop(politely: true)
      state.change { state in
        if state.lifecycle.move(.bye) == .end { state.letGo = true }
      }
    }
  }

  private func hello() {
    let (lifecycle, trial) = state.withLock { ($0.lifecycle, $0.trial) }
    let build = configuration.build
    let device = configuration.device
    let condition = configuration.condition()
    let memory = configuration.memory.read()
    // Once there is a trial, trying it out would harm that trial.
    let largestMapping = trial == nil ? largestMappingBytes() : nil
    events.emit("hello") { event in
      event.field("app_version", build.version)
      event.field("build", build.build)
      event.field("commit", build.commit)
      event.field(
        "engines", .object(configuration.engines.map { JSONValue.Member($0.name, .string($0.version)) }))
      event.field("platform", device.platform)
      event.field("hw_machine", device.hwMachine)
      event.field("os_build", device.osBuild)
      event.field("ram_bytes", device.ramBytes)
      event.field("pid", Int(ownPID))
      event.field("page_size", systemPageSize)
      event.field("entitlements", build.entitlements)
      event.field("sample_columns", .array(MemoryReading.columns.map { .string($0) }))
      event.field("thermal", condition.thermalName)
      event.field("low_power", condition.lowPower)
      event.field("footprint_bytes", memory.footprint)
      event.field("available_bytes", memory.available)
      event.field("largest_mapping_bytes", largestMapping)
      event.field("state", lifecycle.wireName)
      event.field("trial", trial?.name)
    }
  }

  /// Checks what can be known beforehand, then hands the trial to the thread that runs it.
  private func begin(_ name: String, _ job: Job) throws(Refusal) {
    do throws(Refusal) {
      let (lifecycle, running) = state.withLock { ($0.lifecycle, $0.trial) }
      if case .refuse(let kind) = lifecycle.move(.run) {
        let busy = "trial \(running?.name ?? "") is running"
        throw Refusal(kind, kind == .busy ? busy : "this process has run its trial: launch the app again")
      }
      let trial = try prepare(name, job)
      state.change { state in
        state.move(.begin)
        state.trial = trial
      }
    } catch {
      state.withLock { $0.move(.refusal) }
      throw error.of(name)
    }
  }

  private func prepare(_ name: String, _ job: Job) throws(Refusal) -> Trial {
    guard let kind = configuration.engines.first(where: { $0.name == job.engine }) else {
      let known = configuration.engines.map(\.name).joined(separator: ", ")
      throw Refusal(.unknownEngine, "no engine \(job.engine): this app has \(known)")
    }
    let request = EngineRequest(job: job, model: try model(job.model), home: configuration.home)
    try MemoryGuard.refuse(job, configuration.memory)
    try kind.refuse(request)
    try events.beginTrial(name)
    let state = self.state
    return Trial(
      name: name, request: request, kind: kind, events: events, memory: configuration.memory,
      stderrDescriptor: configuration.stderrDescriptor
    ) {
      state.withLock { $0.move(.answer) }
    }
  }

  private func model(_ name: String) throws(Refusal) -> String {
    let documents = "\(configuration.home)/Documents"
    guard let model = Files.resolved("\(documents)/\(name)") else {
      throw Refusal(.unknownModel, "no model at Documents/\(name): push it first")
    }
    guard let below = Files.resolved(documents), model.hasPrefix(below + "/"), Files.isFile(model) else {
      throw Refusal(.unknownModel, "Documents/\(name) is not a file below Documents")
    }
    return model
  }
}

extension RunnerApp.State {
  /// Takes a step that the table allows; one that it does not changes nothing.
  mutating func move(_ step: Lifecycle.Step) {
    if case .go(let next) = lifecycle.move(step) { lifecycle = next }
  }
}
