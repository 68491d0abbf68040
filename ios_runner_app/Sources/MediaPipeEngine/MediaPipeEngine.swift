import Foundation
import MediaPipeTasksGenAI
import RunnerCore
import RunnerEngines

/// MediaPipe's LLM inference (LlmInference) as an engine of the runner.
///
/// A C++ exception inside it (`std::bad_alloc`) cannot be caught in Swift: it ends the process. What then tells where it
/// was is the phase marker, which is on disk before each of the calls below.
final class MediaPipeEngine: Engine {
  private static let pollNs: Int64 = 50_000_000
  /// How long MediaPipe may take to stop generating after it was told to.
  private static let stopNs: Int64 = 30_000_000_000

  private let request: EngineRequest
  private let memory: any MemoryProducer
  private var inference: LlmInference?
  private var session: LlmInference.Session?
  private var evidence: BackendEvidence?

  /// `memory` tells what Metal holds.
  static func kind(version: String, memory: any MemoryProducer) -> EngineKind {
    EngineKind(
      name: "mediapipe", version: version,
      refuse: { (request) throws(Refusal) in
        switch (request.job.cache, request.job.backend) {
        case (.none, .cpu):
          throw Refusal(.badJob, "MediaPipe always keeps a weight cache on the CPU: cache must be cold or warm")
        case (.warm, _): try MediaPipeCache.require(for: request)
        case (.cold, _), (.none, .gpu): return
        }
      },
      make: { MediaPipeEngine($0, memory: memory) })
  }

  init(_ request: EngineRequest, memory: any MemoryProducer) {
    self.request = request
    self.memory = memory
  }

  private var job: Job { request.job }

  func load(on stage: any Stage) throws {
    let cache = try MediaPipeCache(request)
    if job.cache == .cold {
      try stage.phase(.cacheClear) { _ in try cache.clear() }
    }
    try stage.check()
    let before = cache.listing()
    var evidence = BackendEvidence(modelBytes: try Files.identity(request.model).bytes)
    evidence.metalBefore = memory.read().metal
    let stderr = StderrTail()
    let inference = try stage.phase(.createEngine) { phase in
      let inference = try Self.saying(.loadError) { try LlmInference(options: options()) }
      phase.detail = "MediaPipe's initializationTimeInSeconds: \(inference.metrics.initializationTimeInSeconds)"
      if job.cache == .warm && cache.listing() != before {
        throw EngineError(.cacheMissing, "the load was not warm: MediaPipe changed its weight cache")
      }
      return inference
    }
    self.inference = inference
    try stage.check()
    session = try stage.phase(.createSession) { _ in
      try Self.saying(.loadError) { try LlmInference.Session(llmInference: inference, options: sessionOptions()) }
    }
    evidence.metalAfter = memory.read().metal
    evidence.cpuCaches = cache.cpuCaches
    evidence.log = stderr.text()
    self.evidence = evidence
    if job.cache == .cold { try cache.completeBuild() }
  }

  private func options() -> LlmInference.Options {
    let options = LlmInference.Options(modelPath: request.model)
    options.preferredBackend = job.backend == .gpu ? .gpu : .cpu
    // Else the upload to the GPU goes on after init, and hides in the first token's time.
    options.waitForWeightUploads = true
    // Null in the job is MediaPipe's own, 512: the pod does not ask the model.
    if let maxTokens = job.maxTokens { options.maxTokens = maxTokens }
    return options
  }

  /// Greedy, as the other engines are asked to be: the same output on every run.
  private func sessionOptions() -> LlmInference.Session.Options {
    let options = LlmInference.Session.Options()
    options.topk = 1
    options.topp = 1
    options.temperature = 1
    options.randomSeed = job.seed
    return options
  }

  func effectiveBackend() -> EffectiveBackend {
    evidence?.verdict ?? EffectiveBackend(nil, how: "nothing was loaded")
  }

  func generate(on stage: any Stage) throws -> Generation? {
    guard let prompt = job.prompt, job.decodeTokens > 0 else { return nil }
    guard let session else { throw EngineError(.generateError, "there is no session") }
    var generation = Generation()
    generation.prefillTokens = try? session.sizeInTokens(text: prompt)
    try stage.phase(.prefill) { phase in
      try Self.saying(.generateError) { try session.addQueryChunk(inputText: prompt) }
      phase.detail = "MediaPipe took the prompt; it may work through it only when the first token is asked for"
    }
    try stage.check()
    let stream = PieceStream(wanted: job.decodeTokens)
    try decode(session, stream, stage)
    let state = stream.state.withLock { $0 }
    // The pod has no rates, and its count of the output is that of the text, joined.
    generation.decodeTokens = state.text.isEmpty ? 0 : try? session.sizeInTokens(text: state.text)
    generation.outputSHA256 = state.sha256
    generation.outputBytes = state.bytes
    generation.outputChunks = state.count
    return generation
  }

  private func decode(_ session: LlmInference.Session, _ stream: PieceStream, _ stage: any Stage) throws {
    var cancelled = try stage.phase(.firstToken) { phase in
      try Self.saying(.generateError) {
        try session.generateResponseAsync(
          progress: { piece, error in stream.take(piece, error: error.map(Self.words)) },
          completion: { stream.finish() })
      }
      let cancelled = follow(stream, stage) { $0.started || $0.error != nil }
      phase.endedNs = stream.state.withLock { $0.firstNs }
      if phase.endedNs == nil { phase.detail = "no text came" }
      return cancelled
    }
    if let firstNs = stream.state.withLock({ $0.firstNs }) {
      try stage.phase(.decode) { phase in
        phase.beganNs = firstNs
        if !cancelled { cancelled = follow(stream, stage, until: stream.isDone) }
        phase.endedNs = stream.state.withLock { $0.lastNs }
        phase.detail = try stop(session, stream)
      }
    } else {
      _ = try stop(session, stream)
    }
    if cancelled { throw Cancelled() }
    if let error = stream.state.withLock({ $0.error }) { throw EngineError(.generateError, error) }
  }

  /// Waits for the stream; tells whether the trial was cancelled meanwhile.
  private func follow(_ stream: PieceStream, _ stage: any Stage, until: (PieceStream.State) -> Bool) -> Bool {
    while stream.state.wait(timeoutNs: Self.pollNs, { until($0) ? true : nil }) == nil {
      stage.pieces(stream.state.withLock { $0.count })
      if stage.cancelled(withinNs: 0) { return true }
    }
    stage.pieces(stream.state.withLock { $0.count })
    return false
  }

  /// Brings the generation to its end: MediaPipe knows no limit on the output but the size of its token cache. Returns
  /// what there is to say about it. The session must not go while a thread of MediaPipe's works with it.
  private func stop(_ session: LlmInference.Session, _ stream: PieceStream) throws -> String? {
    if stream.state.withLock({ $0.finished }) { return nil }
    var said: String?
    do {
      try session.cancelGenerateResponseAsync()
    } catch {
      said = "MediaPipe would not stop, and went on to its own end: \(Self.words(error))"
    }
    if stream.state.wait(timeoutNs: Self.stopNs, { $0.finished ? true : nil }) == nil {
      throw EngineError(
        .generateError, "MediaPipe had not stopped \(Self.stopNs / nanosecondsPerSecond) s after it was told to")
    }
    return said
  }

  /// The engine is freed when its last session has died, so the session goes first.
  func unload() {
    session = nil
    inference = nil
  }

  /// Runs a call of MediaPipe's; what it throws becomes an error of this kind, in its own words.
  private static func saying<Result>(_ kind: ErrorKind, _ call: () throws -> Result) throws(EngineError) -> Result {
    do {
      return try call()
    } catch {
      throw EngineError(kind, words(error))
    }
  }

  private static func words(_ error: any Error) -> String {
    guard let error = error as? GenAiInferenceError else { return error.localizedDescription }
    return "\(error.errorDescription ?? error.localizedDescription) (MediaPipe's error \(error.errorCode))"
  }
}
