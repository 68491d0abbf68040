import RunnerCore

/// What the engine's thread reports while it decodes: times, counts and a digest; the text itself is not kept.
final class TokenStream: Sendable {
  /// The engine's "error" for the ordinary end of the context.
  static let maxTokensReached = "Max number of tokens reached"

  struct State {
    var firstNs: Int64?
    var lastNs: Int64?
    var bytes = 0
    var count = 0
    var error: String?
    var finished = false
    var hash = SHA256()

    var started: Bool { count > 0 || finished }
  }

  let state = Monitor(State())
  private let library: LiteRTLMLibrary

  init(_ library: LiteRTLMLibrary) {
    self.library = library
  }

  /// Takes a piece; on the engine's thread. A piece may end inside a character, so it is bytes.
  func take(_ chunk: OpaquePointer?) {
    let nowNs = monotonicNs()
    let error = library.streamChunkGetError(chunk).map { String(cString: $0) }
    let isFinal = library.streamChunkIsFinal(chunk)
    state.change { state in
      if let text = library.streamChunkGetText(chunk), text.pointee != 0 {
        var length = 0
        while text[length] != 0 { length += 1 }
        state.hash.update(UnsafeRawBufferPointer(start: text, count: length))
        state.bytes += length
        state.count += 1
        state.firstNs = state.firstNs ?? nowNs
        state.lastNs = nowNs
      }
      if let error, !error.hasPrefix(Self.maxTokensReached) { state.error = error }
      state.finished = state.finished || isFinal || state.error != nil
    }
  }

  /// The function that the engine calls; `context` is an unretained pointer to the stream.
  static let callback: LiteRTLMLibrary.StreamCallback = { context, chunk in
    guard let context else { return }
    Unmanaged<TokenStream>.fromOpaque(context).takeUnretainedValue().take(chunk)
  }

  /// Waits for the end of the stream, however long it takes: the engine's thread must not call us after we have left.
  func waitUntilFinished() {
    while state.wait(timeoutNs: nanosecondsPerSecond, { $0.finished ? true : nil }) == nil {}
  }
}
