// The public Swift interface of the pod MediaPipeTasksGenAI 0.10.33, for checking types on a machine without Xcode.
// Written down from the public sources of MediaPipe 0.10.32; @objc is left out, a Linux compiler has none.
// Never linked into the app.

import Foundation

public final class LlmInference: NSObject {
  public private(set) var metrics: Metrics

  public init(options: Options) throws {
    metrics = Metrics(initializationTimeInSeconds: 0)
  }

  public convenience init(modelPath: String) throws {
    try self.init(options: Options(modelPath: modelPath))
  }

  public func generateResponse(inputText: String) throws -> String { "" }

  public func generateResponseAsync(
    inputText: String, progress: @escaping (_ partialResponse: String?, _ error: Error?) -> Void,
    completion: @escaping (() -> Void)
  ) throws {}

  public func generateResponseAsync(inputText: String) -> AsyncThrowingStream<String, Error> {
    AsyncThrowingStream { $0.finish() }
  }
}

extension LlmInference {
  public enum LlmPreferredBackend: Int32 {
    case defaultBackend = 0
    case gpu = 1
    case cpu = 2
  }

  public final class Options: NSObject {
    public var modelPath: String
    public var visionEncoderPath: String = ""
    public var visionAdapterPath: String = ""
    public var preferredBackend: LlmPreferredBackend = .defaultBackend
    public var maxTokens: Int = 512
    public var maxImages: Int = 0
    public var maxTopk: Int = 40
    public var supportedLoraRanks: [Int] = []
    public var waitForWeightUploads: Bool = false
    public var useSubmodel: Bool = false
    public var sequenceBatchSize: Int = 0
    public var maxAudioSequenceLength: Int = 0
    public var enableAudioModality: Bool = false

    public init(modelPath: String) {
      self.modelPath = modelPath
    }
  }

  public final class Metrics: NSObject {
    public private(set) var initializationTimeInSeconds: TimeInterval

    public init(initializationTimeInSeconds: TimeInterval) {
      self.initializationTimeInSeconds = initializationTimeInSeconds
    }
  }

  public final class Session: NSObject {
    public private(set) var metrics = Metrics()

    public init(llmInference: LlmInference, options: Options) throws {}

    public convenience init(llmInference: LlmInference) throws {
      try self.init(llmInference: llmInference, options: Options())
    }

    public func addQueryChunk(inputText: String) throws {}
    public func addAudio(audio: Data) throws {}
    public func generateResponse() throws -> String { "" }

    public func generateResponseAsync(
      progress: @escaping (_ partialResponse: String?, _ error: Error?) -> Void, completion: @escaping (() -> Void)
    ) throws {}

    public func generateResponseAsync() -> AsyncThrowingStream<String, Error> {
      AsyncThrowingStream { $0.finish() }
    }

    public func sizeInTokens(text: String) throws -> Int { 0 }
    public func clone() throws -> Session { self }
    public func cancelGenerateResponseAsync() throws {}

    public final class Options: NSObject {
      public var topk: Int = 40
      public var topp: Float = 1.0
      public var temperature: Float = 0.8
      public var randomSeed: Int = 0
      public var loraPath: String?
      public var enableVisionModality: Bool = false
      public var enableAudioModality: Bool = false
    }

    public final class Metrics: NSObject {
      public private(set) var responseGenerationTimeInSeconds: TimeInterval = 0
    }
  }
}

public enum GenAiInferenceError: Error {
  case invalidResponse
  case illegalMethodCall
  case failedToComputeSizeInTokens(String?)
  case failedToInitializeSession(String?)
  case failedToInitializeEngine(String?)
  case failedToAddQueryToSession(String, String?)
  case failedToPredictSync(String?)
  case failedToPredictAsync(String?)
  case failedToCloneSession(String?)
  case failedToCancelAsyncPrediction(String?)
  case failedToAddAudioToSession(String?)
}

extension GenAiInferenceError: LocalizedError {
  public var errorDescription: String? { nil }
}

extension GenAiInferenceError: CustomNSError {
  public static var errorDomain: String { "com.google.mediapipe.tasks.genai.inference" }
  public var errorCode: Int { 0 }
}
