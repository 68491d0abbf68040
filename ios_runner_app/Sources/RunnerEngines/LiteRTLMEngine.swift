import RunnerCore

/// LiteRT-LM as an engine of the runner: load, prefill, decode, unload, through its C interface.
public final class LiteRTLMEngine: Engine {
  private static let logWarning: Int32 = 3
  private static let inputText: Int32 = 0
  /// Type 1 (TOP_K) fails at decode on the CPU at 0.18.1; TOP_P with k = 1 is greedy and works.
  private static let samplerTopP: Int32 = 2
  private static let noCache = ":nocache"
  private static let pollNs: Int64 = 50_000_000

  private let libraryPath: String?
  private let request: EngineRequest
  private let gpu: WeightUpload?
  private var uploaded: AnyObject?
  private var library: LiteRTLMLibrary?
  private var engine: OpaquePointer?
  private var session: OpaquePointer?

  /// The engine at `libraryPath` (nil: linked into the app). `gpu`: what a job for the GPU gets where the phone only
  /// emulates one.
  public static func kind(version: String, libraryPath: String?, gpu: WeightUpload? = nil) -> EngineKind {
    EngineKind(
      name: "litert_lm", version: version,
      refuse: { (request) throws(Refusal) in
        if request.job.cache == .warm { try WeightCache.require(for: request) }
      },
      make: { LiteRTLMEngine(libraryPath: libraryPath, request: $0, gpu: gpu) })
  }

  init(libraryPath: String?, request: EngineRequest, gpu: WeightUpload?) {
    self.libraryPath = libraryPath
    self.request = request
    self.gpu = request.job.backend == .gpu ? gpu : nil
  }

  private var job: Job { request.job }

  public func load(on stage: any Stage) throws {
    let cache = try WeightCache(request)
    if job.cache == .cold {
      try stage.phase(.cacheClear) { _ in try cache.clear() }
    }
    let library = try stage.phase(.loadLibrary) { _ in
      let library = try LiteRTLMLibrary(path: libraryPath)
      library.setMinLogLevel(Self.logWarning)
      return library
    }
    self.library = library
    try stage.check()
    if let gpu {
      uploaded = try stage.phase(.gpuUpload) { _ in try gpu.upload(request.model, on: stage) }
      try stage.check()
    }
    if job.cache == .cold { try cache.beginBuild() }
    let before = cache.listing()
    try stage.phase(.createEngine) { _ in
      try createEngine(library, cache)
      if job.cache == .warm && cache.listing() != before {
        throw EngineError(.cacheMissing, "the load was not warm: the engine wrote a weight cache of its own")
      }
    }
    try stage.check()
    try stage.phase(.createSession) { _ in try createSession(library) }
    if job.cache == .cold { try cache.completeBuild() }
  }

  private func createEngine(_ library: LiteRTLMLibrary, _ cache: WeightCache) throws {
    let backend: Job.Backend = gpu == nil ? job.backend : .cpu
    guard let settings = library.engineSettingsCreate(request.model, backend.rawValue, nil, nil) else {
      throw EngineError(.loadError, library.lastError)
    }
    library.engineSettingsSetCacheDir(settings, job.cache == .none ? Self.noCache : cache.directory)
    if let maxTokens = job.maxTokens { library.engineSettingsSetMaxNumTokens(settings, Int32(maxTokens)) }
    library.engineSettingsEnableBenchmark(settings)
    engine = library.engineCreate(settings)
    library.engineSettingsDelete(settings)
    #if os(Linux)
      if backend == .gpu { try refuseGPU(library) }
    #endif
    if engine == nil { throw EngineError(.loadError, library.lastError) }
  }

  #if os(Linux)
    /// A load on the GPU is refused whatever the engine says: nothing here would prove that no CPU took over.
    private func refuseGPU(_ library: LiteRTLMLibrary) throws {
      if engine == nil {
        throw EngineError(.loadError, "this host has no GPU engine; the engine's words: \(library.lastError)")
      }
      unload()
      throw EngineError(.loadError, "the engine took the GPU, but here nothing proves which device then executes")
    }
  #endif

  private func createSession(_ library: LiteRTLMLibrary) throws {
    let config = library.sessionConfigCreate()
    let sampler = library.samplerParamsCreate(Self.samplerTopP)
    library.samplerParamsSetTopK(sampler, 1)
    library.samplerParamsSetTopP(sampler, 1)
    library.samplerParamsSetTemperature(sampler, 1)
    library.samplerParamsSetSeed(sampler, Int32(job.seed))
    library.sessionConfigSetSamplerParams(config, sampler)
    library.sessionConfigSetMaxOutputTokens(config, Int32(max(1, job.decodeTokens)))
    // The prompt is the host's, to the letter.
    library.sessionConfigSetApplyPromptTemplate(config, false)
    session = library.engineCreateSession(engine, config)
    library.samplerParamsDelete(sampler)
    library.sessionConfigDelete(config)
    if session == nil { throw EngineError(.loadError, library.lastError) }
  }

  public func effectiveBackend() -> EffectiveBackend {
    if let gpu { return gpu.effective }
    switch job.backend {
    case .cpu:
      return EffectiveBackend("cpu", how: "engine settings: cpu was requested and engine_create succeeded")
    case .gpu:
      // Reports of a silent fall-back to the CPU: what was asked for proves nothing.
      return EffectiveBackend(nil, how: "this engine does not say which device executes")
    }
  }

  public func generate(on stage: any Stage) throws -> Generation? {
    guard let prompt = job.prompt, job.decodeTokens > 0 else { return nil }
    guard let library else { throw EngineError(.generateError, "the engine's library is not loaded") }
    try stage.phase(.prefill) { _ in try prefill(library, prompt) }
    try stage.check()
    let stream = TokenStream(library)
    try decode(library, stream, stage)
    return generation(library, stream.state.withLock { $0 })
  }

  private func prefill(_ library: LiteRTLMLibrary, _ prompt: String) throws {
    let bytes = Array(prompt.utf8)
    let status = bytes.withUnsafeBytes { bytes in
      var item = library.inputDataCreate(Self.inputText, bytes.baseAddress, bytes.count)
      defer { library.inputDataDelete(item) }
      return library.sessionRunPrefill(session, &item, 1)
    }
    if status != 0 { throw EngineError(.generateError, library.lastError) }
  }

  private func decode(_ library: LiteRTLMLibrary, _ stream: TokenStream, _ stage: any Stage) throws {
    var cancelled = false
    // Held until the engine's thread is done with it: `follow` never returns before.
    try withExtendedLifetime(stream) {
      try stage.phase(.firstToken) { phase in
        let context = Unmanaged.passUnretained(stream).toOpaque()
        if library.sessionRunDecodeAsync(session, TokenStream.callback, context) != 0 {
          throw EngineError(.generateError, library.lastError)
        }
        cancelled = follow(library, stream, stage) { $0.started }
        phase.endedNs = stream.state.withLock { $0.firstNs }
        if phase.endedNs == nil { phase.detail = "no text came" }
      }
      if let firstNs = stream.state.withLock({ $0.firstNs }) {
        try stage.phase(.decode) { phase in
          phase.beganNs = firstNs
          cancelled = follow(library, stream, stage) { $0.finished } || cancelled
          phase.endedNs = stream.state.withLock { $0.lastNs }
        }
      }
    }
    if cancelled { throw Cancelled() }
    if let error = stream.state.withLock({ $0.error }) { throw EngineError(.generateError, error) }
  }

  /// Waits for the stream; when the trial is cancelled stops the engine and waits for it. Tells whether it was.
  private func follow(
    _ library: LiteRTLMLibrary, _ stream: TokenStream, _ stage: any Stage, until: (TokenStream.State) -> Bool
  ) -> Bool {
    while stream.state.wait(timeoutNs: Self.pollNs, { until($0) ? true : nil }) == nil {
      stage.pieces(stream.state.withLock { $0.count })
      if stage.cancelled(withinNs: 0) {
        library.sessionCancelProcess(session)
        stream.waitUntilFinished()
        return true
      }
    }
    stage.pieces(stream.state.withLock { $0.count })
    return false
  }

  private func generation(_ library: LiteRTLMLibrary, _ stream: TokenStream.State) -> Generation {
    var generation = Generation()
    generation.outputSHA256 = stream.hash.hexDigest()
    generation.outputBytes = stream.bytes
    generation.outputChunks = stream.count
    guard let info = library.sessionGetBenchmarkInfo(session) else { return generation }
    defer { library.benchmarkInfoDelete(info) }
    let prefills = library.prefillTurns(info)
    if prefills > 0 {
      generation.prefillTokens = Int(library.prefillTokens(info, prefills - 1))
      generation.prefillTps = library.prefillRate(info, prefills - 1)
    }
    let decodes = library.decodeTurns(info)
    if decodes > 0 {
      generation.decodeTokens = Int(library.decodeTokens(info, decodes - 1))
      generation.decodeTps = library.decodeRate(info, decodes - 1)
    }
    return generation
  }

  public func unload() {
    if let session { library?.sessionDelete(session) }
    session = nil
    if let engine { library?.engineDelete(engine) }
    engine = nil
    uploaded = nil
  }
}

/// Where a phone that has no GPU holds the weights instead; see EmulatedGPU.swift.
public protocol WeightUpload: Sendable {
  /// Holds them for as long as what is returned lives.
  func upload(_ model: String, on stage: any Stage) throws -> AnyObject
  /// What the trial is told about the device that executed; called while the weights are held.
  var effective: EffectiveBackend { get }
}
