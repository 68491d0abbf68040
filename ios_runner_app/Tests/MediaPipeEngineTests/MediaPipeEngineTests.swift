import Foundation
import MediaPipeTasksGenAI
import Testing

@testable import MediaPipeEngine
@testable import RunnerCore

/// The engine's own logic, with MediaPipe played by a script (Tests/MediaPipeFake).
@Suite struct MediaPipeEngineTests {
  @Test func aColdLoadThatGenerates() throws {
    let bench = try Bench("pieces 50")
    let generation = try bench.run(bench.job(cache: .cold, decodeTokens: 4))
    let phases: [PhaseName] = [.cacheClear, .createEngine, .createSession, .prefill, .firstToken, .decode]
    #expect(bench.stage.names == phases)
    #expect(bench.stage.details[.createEngine] == "MediaPipe's initializationTimeInSeconds: 0.25")
    #expect(generation?.prefillTokens == 2)
    #expect(generation?.decodeTokens == 4)
    #expect(generation?.outputChunks == 4)
    #expect(generation?.outputBytes == 20)
    #expect(generation?.outputSHA256 == SHA256.hexDigest(of: "word word word word "))
    #expect(generation?.decodeTps == nil)
  }

  @Test func loadOnlyGeneratesNothing() throws {
    let bench = try Bench("pieces 5")
    #expect(try bench.run(bench.job(cache: .cold, decodeTokens: 0)) == nil)
    #expect(bench.stage.names == [.cacheClear, .createEngine, .createSession])
  }

  @Test func nothingIsHeldAfterTheUnload() throws {
    let bench = try Bench("pieces 1")
    let engine = bench.engine(bench.job(cache: .cold, decodeTokens: 1))
    try engine.load(on: bench.stage)
    #expect(LlmInference.isHeld(bench.model))
    engine.unload()
    #expect(!LlmInference.isHeld(bench.model))
    engine.unload()
  }

  @Test func aWarmLoadNeedsACacheOfThisVeryFile() throws {
    let bench = try Bench("pieces 1")
    let warm = bench.job(cache: .warm, decodeTokens: 0)
    #expect(bench.refusal(warm)?.kind == .cacheMissing)
    _ = try bench.run(bench.job(cache: .cold, decodeTokens: 0))
    #expect(bench.refusal(warm) == nil)
    #expect(try bench.run(warm) == nil)
    try bench.push("pieces 2")
    #expect(bench.refusal(warm)?.message.contains("another file") == true)
  }

  @Test func aCacheThatAFailedLoadLeftIsNotTrusted() throws {
    let bench = try Bench("pieces 1")
    _ = try bench.run(bench.job(cache: .cold, decodeTokens: 0))
    bench.stage.stopsBefore = .createSession
    #expect(throws: Cancelled.self) { try bench.run(bench.job(cache: .cold, decodeTokens: 0)) }
    #expect(bench.refusal(bench.job(cache: .warm, decodeTokens: 0))?.message.contains("incomplete") == true)
  }

  @Test func aLoadThatChangesTheCacheWasNotWarm() throws {
    let bench = try Bench("pieces 1")
    let error = #expect(throws: EngineError.self) { try bench.run(bench.job(cache: .warm, decodeTokens: 0)) }
    #expect(error?.kind == .cacheMissing)
  }

  @Test func withoutCacheOnlyOnTheGPU() throws {
    let bench = try Bench("cache off")
    #expect(bench.refusal(bench.job(cache: .none, decodeTokens: 0))?.kind == .badJob)
    #expect(bench.refusal(bench.job(cache: .none, backend: .gpu, decodeTokens: 0)) == nil)
  }

  @Test func whatMediaPipeSaysIsTheError() throws {
    let broken = try Bench("init_fails no memory")
    let load = #expect(throws: EngineError.self) { try broken.run(broken.job(cache: .cold, decodeTokens: 1)) }
    #expect(
      load == EngineError(.loadError, "Failed to initialize LlmInference engine: no memory (MediaPipe's error 4)"))
    let breaking = try Bench("pieces 2\ngenerate_fails it broke")
    let generate = #expect(throws: EngineError.self) { try breaking.run(breaking.job(cache: .cold, decodeTokens: 9)) }
    #expect(generate == EngineError(.generateError, "Failed to predict: it broke (MediaPipe's error 7)"))
  }

  @Test func oneThatCannotBeStoppedIsWaitedFor() throws {
    let bench = try Bench("pieces 20\ncancel refused")
    let generation = try bench.run(bench.job(cache: .cold, decodeTokens: 2))
    #expect(generation?.outputChunks == 2)
    #expect(bench.stage.details[.decode]?.contains("not today (MediaPipe's error 9)") == true)
  }

  @Test func aCancelledTrialStopsTheGeneration() throws {
    let bench = try Bench("pieces 1000000")
    bench.stage.cancelsAfterPieces = 1
    #expect(throws: Cancelled.self) { try bench.run(bench.job(cache: .cold, decodeTokens: 1_000_000)) }
    #expect(bench.stage.names.last == .decode)
  }

  @Test func anEmptyAnswer() throws {
    let bench = try Bench("pieces 0")
    let generation = try bench.run(bench.job(cache: .cold, decodeTokens: 3))
    #expect(generation?.outputChunks == 0)
    #expect(generation?.decodeTokens == 0)
    #expect(bench.stage.details[.firstToken] == "no text came")
    #expect(!bench.stage.names.contains(.decode))
  }

  @Test func theBackendIsWhatTheEvidenceSays() throws {
    let onCPU = try Bench("pieces 1")
    onCPU.memory.metal = [7, 7]
    let cpu = onCPU.engine(onCPU.job(cache: .cold, decodeTokens: 0))
    #expect(cpu.effectiveBackend().name == nil)
    try cpu.load(on: onCPU.stage)
    #expect(cpu.effectiveBackend().name == "cpu")
    let onGPU = try Bench("cache off")
    onGPU.memory.metal = [7, 1_000_000]
    let gpu = onGPU.engine(onGPU.job(cache: .none, backend: .gpu, decodeTokens: 0))
    try gpu.load(on: onGPU.stage)
    #expect(gpu.effectiveBackend().name == "gpu")
  }
}
