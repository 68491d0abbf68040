import RunnerCore

#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// LiteRT-LM's C interface as a table of functions, and nothing else of it. One table for Linux and iOS.
///
/// Written for 0.18: the stream callback's arguments changed at 0.15. A library is refused unless it has every function
/// below (the chunk's accessors came with the new callback) and, where it tells its version, tells this one.
struct LiteRTLMLibrary: Sendable {
  static let supportedVersions = "0.18."
  /// `std::string_view LITERT_LM_VERSION`, exported on Linux; not part of the C interface.
  private static let versionSymbol = "_ZN6litert2lm17LITERT_LM_VERSIONE"
  private static let maxVersionBytes = 32

  typealias Handle = OpaquePointer
  typealias Text = UnsafePointer<CChar>
  typealias StreamCallback = @convention(c) (UnsafeMutableRawPointer?, Handle?) -> Void
  typealias Release = @convention(c) (Handle?) -> Void
  typealias SetInteger = @convention(c) (Handle?, Int32) -> Void
  typealias TurnCount = @convention(c) (Handle?) -> Int32
  typealias TurnTokens = @convention(c) (Handle?, Int32) -> Int32
  typealias TurnRate = @convention(c) (Handle?, Int32) -> Double

  let setMinLogLevel: @convention(c) (Int32) -> Void
  let getLastErrorMessage: @convention(c) () -> Text?
  let engineSettingsCreate: @convention(c) (Text?, Text?, Text?, Text?) -> Handle?
  let engineSettingsDelete: Release
  let engineSettingsSetMaxNumTokens: SetInteger
  let engineSettingsSetCacheDir: @convention(c) (Handle?, Text?) -> Void
  let engineSettingsEnableBenchmark: Release
  let engineCreate: @convention(c) (Handle?) -> Handle?
  let engineDelete: Release
  let engineCreateSession: @convention(c) (Handle?, Handle?) -> Handle?
  let sessionDelete: Release
  let sessionConfigCreate: @convention(c) () -> Handle?
  let sessionConfigDelete: Release
  let sessionConfigSetMaxOutputTokens: SetInteger
  let sessionConfigSetApplyPromptTemplate: @convention(c) (Handle?, Bool) -> Void
  let sessionConfigSetSamplerParams: @convention(c) (Handle?, Handle?) -> Void
  let samplerParamsCreate: @convention(c) (Int32) -> Handle?
  let samplerParamsDelete: Release
  let samplerParamsSetTopK: SetInteger
  let samplerParamsSetTopP: @convention(c) (Handle?, Float) -> Void
  let samplerParamsSetTemperature: @convention(c) (Handle?, Float) -> Void
  let samplerParamsSetSeed: SetInteger
  let inputDataCreate: @convention(c) (Int32, UnsafeRawPointer?, Int) -> Handle?
  let inputDataDelete: Release
  let sessionRunPrefill: @convention(c) (Handle?, UnsafeMutablePointer<Handle?>?, Int) -> Int32
  let sessionRunDecodeAsync: @convention(c) (Handle?, StreamCallback?, UnsafeMutableRawPointer?) -> Int32
  let sessionCancelProcess: Release
  let sessionGetBenchmarkInfo: @convention(c) (Handle?) -> Handle?
  let streamChunkGetText: @convention(c) (Handle?) -> Text?
  let streamChunkIsFinal: @convention(c) (Handle?) -> Bool
  let streamChunkGetError: @convention(c) (Handle?) -> Text?
  let benchmarkInfoDelete: Release
  let prefillTurns: TurnCount
  let decodeTurns: TurnCount
  let prefillTokens: TurnTokens
  let decodeTokens: TurnTokens
  let prefillRate: TurnRate
  let decodeRate: TurnRate

  /// Loads the library at `path`; nil: it is linked into the app. It is never unloaded: it keeps threads of its own.
  init(path: String?) throws(EngineError) {
    guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw EngineError(.loadError, Self.linkerError())
    }
    try Self.checkVersion(library)
    setMinLogLevel = try Self.find("set_min_log_level", library)
    getLastErrorMessage = try Self.find("get_last_error_message", library)
    engineSettingsCreate = try Self.find("engine_settings_create", library)
    engineSettingsDelete = try Self.find("engine_settings_delete", library)
    engineSettingsSetMaxNumTokens = try Self.find("engine_settings_set_max_num_tokens", library)
    engineSettingsSetCacheDir = try Self.find("engine_settings_set_cache_dir", library)
    engineSettingsEnableBenchmark = try Self.find("engine_settings_enable_benchmark", library)
    engineCreate = try Self.find("engine_create", library)
    engineDelete = try Self.find("engine_delete", library)
    engineCreateSession = try Self.find("engine_create_session", library)
    sessionDelete = try Self.find("session_delete", library)
    sessionConfigCreate = try Self.find("session_config_create", library)
    sessionConfigDelete = try Self.find("session_config_delete", library)
    sessionConfigSetMaxOutputTokens = try Self.find("session_config_set_max_output_tokens", library)
    sessionConfigSetApplyPromptTemplate = try Self.find("session_config_set_apply_prompt_template", library)
    sessionConfigSetSamplerParams = try Self.find("session_config_set_sampler_params", library)
    samplerParamsCreate = try Self.find("sampler_params_create", library)
    samplerParamsDelete = try Self.find("sampler_params_delete", library)
    samplerParamsSetTopK = try Self.find("sampler_params_set_top_k", library)
    samplerParamsSetTopP = try Self.find("sampler_params_set_top_p", library)
    samplerParamsSetTemperature = try Self.find("sampler_params_set_temperature", library)
    samplerParamsSetSeed = try Self.find("sampler_params_set_seed", library)
    inputDataCreate = try Self.find("input_data_create", library)
    inputDataDelete = try Self.find("input_data_delete", library)
    sessionRunPrefill = try Self.find("session_run_prefill", library)
    sessionRunDecodeAsync = try Self.find("session_run_decode_async", library)
    sessionCancelProcess = try Self.find("session_cancel_process", library)
    sessionGetBenchmarkInfo = try Self.find("session_get_benchmark_info", library)
    streamChunkGetText = try Self.find("stream_chunk_get_text", library)
    streamChunkIsFinal = try Self.find("stream_chunk_is_final", library)
    streamChunkGetError = try Self.find("stream_chunk_get_error", library)
    benchmarkInfoDelete = try Self.find("benchmark_info_delete", library)
    prefillTurns = try Self.find("benchmark_info_get_num_prefill_turns", library)
    decodeTurns = try Self.find("benchmark_info_get_num_decode_turns", library)
    prefillTokens = try Self.find("benchmark_info_get_prefill_token_count_at", library)
    decodeTokens = try Self.find("benchmark_info_get_decode_token_count_at", library)
    prefillRate = try Self.find("benchmark_info_get_prefill_tokens_per_sec_at", library)
    decodeRate = try Self.find("benchmark_info_get_decode_tokens_per_sec_at", library)
  }

  /// The library's own words about what went wrong last.
  var lastError: String {
    getLastErrorMessage().map { String(cString: $0) } ?? "(the engine gave no reason)"
  }

  /// Looks a function up. Its type is the caller's word: C keeps none to compare it with.
  private static func find<Function>(
    _ name: String, _ library: UnsafeMutableRawPointer
  ) throws(EngineError) -> Function {
    guard let address = dlsym(library, "litert_lm_\(name)") else {
      throw EngineError(.loadError, "LiteRT-LM has no litert_lm_\(name); this app is written for \(supportedVersions)x")
    }
    return unsafeBitCast(address, to: Function.self)
  }

  private static func checkVersion(_ library: UnsafeMutableRawPointer) throws(EngineError) {
    guard let address = dlsym(library, versionSymbol) else { return }
    let length = address.load(fromByteOffset: MemoryLayout<Int>.size, as: Int.self)
    guard (1...maxVersionBytes).contains(length), let start = address.load(as: UnsafeRawPointer?.self) else { return }
    let version = String(decoding: UnsafeRawBufferPointer(start: start, count: length), as: UTF8.self)
    if !version.hasPrefix(supportedVersions) {
      throw EngineError(.loadError, "LiteRT-LM is \(version); this app is written for \(supportedVersions)x")
    }
  }

  private static func linkerError() -> String {
    dlerror().map { String(cString: $0) } ?? "dlopen gave no reason"
  }
}
