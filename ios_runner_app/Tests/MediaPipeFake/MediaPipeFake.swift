// MediaPipe's LLM inference as our engine uses it, played by a script: the pod has no version for Linux. What it does
// stands in the "model" file, one word and its value a line; see `Script`. Its names and types are those of
// Stubs/MediaPipeTasksGenAI, against which the engine is checked as well.

import Foundation
import Synchronization

/// What a fake model does.
struct Script: Sendable {
  /// How many pieces of text it generates, unless it is stopped: `pieces 5`.
  var pieces = 3
  /// Fails with these words: `init_fails no memory`, `generate_fails it broke` (after the pieces).
  var initFails: String?
  var generateFails: String?
  /// `cancel refused`: it cannot be stopped.
  var refusesCancel = false
  /// `cache off`: it keeps no weight cache, as on the GPU.
  var keepsCache = true

  init(model: String) {
    let text = (try? String(contentsOfFile: model, encoding: .utf8)) ?? ""
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      switch words[0] {
      case "pieces": pieces = Int(words[1]) ?? 0
      case "init_fails": initFails = words[1]
      case "generate_fails": generateFails = words[1]
      case "cancel": refusesCancel = true
      case "cache": keepsCache = false
      default: break
      }
    }
  }
}

public final class LlmInference: NSObject {
  /// Models that are held now, by their paths.
  private static let held = Mutex<[String: Int]>([:])

  public let metrics = Metrics()
  let script: Script
  private let modelPath: String

  public static func isHeld(_ modelPath: String) -> Bool { held.withLock { ($0[modelPath] ?? 0) > 0 } }

  public init(options: Options) throws {
    script = Script(model: options.modelPath)
    modelPath = options.modelPath
    super.init()
    if let words = script.initFails { throw GenAiInferenceError.failedToInitializeEngine(words) }
    if script.keepsCache {
      let name = URL(fileURLWithPath: modelPath).lastPathComponent + ".xnnpack_cache"
      let cache = FileManager.default.temporaryDirectory.appendingPathComponent(name)
      if !FileManager.default.fileExists(atPath: cache.path) { try Data("weights".utf8).write(to: cache) }
    }
    Self.held.withLock { $0[modelPath, default: 0] += 1 }
  }

  deinit {
    if script.initFails == nil { Self.held.withLock { $0[modelPath, default: 0] -= 1 } }
  }

  public enum LlmPreferredBackend: Int32 {
    case defaultBackend = 0
    case gpu = 1
    case cpu = 2
  }

  public final class Options: NSObject {
    public var modelPath: String
    public var preferredBackend: LlmPreferredBackend = .defaultBackend
    public var maxTokens: Int = 512
    public var waitForWeightUploads: Bool = false

    public init(modelPath: String) {
      self.modelPath = modelPath
    }
  }

  public final class Metrics: NSObject {
    public let initializationTimeInSeconds: TimeInterval = 0.25
  }

  public final class Session: NSObject {
    private let inference: LlmInference
    private let stopped = Stopped()

    public init(llmInference: LlmInference, options: Options) throws {
      inference = llmInference
    }

    public func addQueryChunk(inputText: String) throws {}

    /// A token is a word here.
    public func sizeInTokens(text: String) throws -> Int { text.split(separator: " ").count }

    public func cancelGenerateResponseAsync() throws {
      if inference.script.refusesCancel { throw GenAiInferenceError.failedToCancelAsyncPrediction("not today") }
      stopped.value.withLock { $0 = true }
    }

    public func generateResponseAsync(
      progress: @escaping (_ partialResponse: String?, _ error: Error?) -> Void, completion: @escaping (() -> Void)
    ) throws {
      let callbacks = Callbacks(progress: progress, completion: completion)
      let (script, stopped) = (inference.script, stopped)
      Thread.detachNewThread {
        var count = 0
        while count < script.pieces && !stopped.value.withLock({ $0 }) {
          callbacks.progress("word ", nil)
          count += 1
          Thread.sleep(forTimeInterval: 0.001)
        }
        if let words = script.generateFails {
          callbacks.progress(nil, GenAiInferenceError.failedToPredictAsync(words))
        }
        callbacks.completion()
      }
    }

    public final class Options: NSObject {
      public var topk: Int = 40
      public var topp: Float = 1.0
      public var temperature: Float = 0.8
      public var randomSeed: Int = 0
    }
  }
}

private final class Stopped: Sendable {
  let value = Mutex(false)
}

/// As MediaPipe does: closures that say nothing of threads are called from one of its own.
private struct Callbacks: @unchecked Sendable {
  let progress: (String?, Error?) -> Void
  let completion: () -> Void
}

public enum GenAiInferenceError: Error {
  case failedToInitializeEngine(String?)
  case failedToPredictAsync(String?)
  case failedToCancelAsyncPrediction(String?)
}

extension GenAiInferenceError: LocalizedError {
  public var errorDescription: String? {
    switch self {
    case .failedToInitializeEngine(let words): "Failed to initialize LlmInference engine: \(words ?? "")"
    case .failedToPredictAsync(let words): "Failed to predict: \(words ?? "")"
    case .failedToCancelAsyncPrediction(let words): "Failed to cancel: \(words ?? "")"
    }
  }
}

extension GenAiInferenceError: CustomNSError {
  public static var errorDomain: String { "com.google.mediapipe.tasks.genai.inference" }

  public var errorCode: Int {
    switch self {
    case .failedToInitializeEngine: 4
    case .failedToPredictAsync: 7
    case .failedToCancelAsyncPrediction: 9
    }
  }
}
