import Foundation
import Synchronization

@testable import MediaPipeEngine
@testable import RunnerCore

/// A phone's container with one model in it, and what an engine needs around it.
final class Bench {
  let home: String
  let model: String
  let stage = RecordingStage()
  let memory = ScriptedMemory()

  /// `script`: what the fake model does, see Tests/MediaPipeFake.
  init(_ script: String) throws {
    home = FileManager.default.temporaryDirectory.appendingPathComponent("bench-\(UUID())").path
    // A name of its own: MediaPipe's caches all lie in one folder.
    model = "\(home)/Documents/\(UUID()).task"
    try FileManager.default.createDirectory(atPath: "\(home)/Documents", withIntermediateDirectories: true)
    try push(script)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: home)
    let cache = Files.name(of: model) + ".xnnpack_cache"
    try? FileManager.default.removeItem(at: FileManager.default.temporaryDirectory.appendingPathComponent(cache))
  }

  /// Puts the model there, anew.
  func push(_ script: String) throws {
    try Data(script.utf8).write(to: URL(fileURLWithPath: model), options: .atomic)
  }

  func job(cache: Job.Cache, backend: Job.Backend = .cpu, decodeTokens: Int) -> EngineRequest {
    let job = Job(
      model: Files.name(of: model), engine: "mediapipe", backend: backend, cache: cache, sampleHz: 1, sha256: nil,
      maxTokens: nil, prompt: "two words", decodeTokens: decodeTokens, holdMs: 0, seed: 0, prewarm: .off,
      warmup: false, guardReserveBytes: nil)
    return EngineRequest(job: job, model: model, home: home)
  }

  func engine(_ request: EngineRequest) -> MediaPipeEngine { MediaPipeEngine(request, memory: memory) }

  /// Why the job is refused before it begins; nil when it is not.
  func refusal(_ request: EngineRequest) -> Refusal? {
    do throws(Refusal) {
      try MediaPipeEngine.kind(version: "0", memory: memory).refuse(request)
      return nil
    } catch {
      return error
    }
  }

  func run(_ request: EngineRequest) throws -> Generation? {
    let engine = engine(request)
    defer { engine.unload() }
    try engine.load(on: stage)
    return try engine.generate(on: stage)
  }
}

/// Writes down what an engine does on it.
final class RecordingStage: Stage, @unchecked Sendable {
  // @unchecked: an engine works on one thread.
  private(set) var names: [PhaseName] = []
  private(set) var details: [PhaseName: String] = [:]
  var cancelsAfterPieces: Int?
  /// `check` says that the trial is cancelled when the phase before this one is over.
  var stopsBefore: PhaseName?
  private var pieces = 0

  func phase<Result>(_ name: PhaseName, _ body: (Phase) throws -> Result) throws -> Result {
    names.append(name)
    let phase = Phase(name, beganNs: monotonicNs())
    let result = try body(phase)
    details[name] = phase.detail
    return result
  }

  func check() throws {
    if let stopsBefore, names.last == .createEngine, stopsBefore == .createSession { throw Cancelled() }
  }

  func cancelled(withinNs: Int64) -> Bool { cancelsAfterPieces.map { pieces >= $0 } ?? false }

  func pieces(_ count: Int) { pieces = count }
}

/// Metal's memory as it was planned, one figure a reading, the last one again and again.
final class ScriptedMemory: MemoryProducer, @unchecked Sendable {
  // @unchecked: an engine works on one thread.
  var metal: [Int64] = []

  func read() -> MemoryReading {
    var reading = MemoryReading()
    reading.metal = metal.count > 1 ? metal.removeFirst() : metal.first
    return reading
  }

  func peaks() -> KernelPeaks { KernelPeaks() }
}
