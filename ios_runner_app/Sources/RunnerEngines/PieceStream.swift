import RunnerCore

/// What an engine that calls back with text tells while it generates: times, counts, a digest, and the text itself
/// until its tokens have been counted. From any thread.
public final class PieceStream: Sendable {
  public struct State {
    public var firstNs: Int64?
    public var lastNs: Int64?
    public var bytes = 0
    public var count = 0
    public var text = ""
    public var error: String?
    /// The engine calls no more.
    public var finished = false
    var hash = SHA256()

    public var started: Bool { count > 0 || finished }
    public var sha256: String { hash.hexDigest() }
  }

  public let state = Monitor(State())
  private let wanted: Int

  /// `wanted`: after so many pieces there are enough.
  public init(wanted: Int) {
    self.wanted = wanted
  }

  /// Takes a piece, or the engine's words about what went wrong. An empty piece is none.
  public func take(_ piece: String?, error: String?) {
    let nowNs = monotonicNs()
    state.change { state in
      if let error, state.error == nil { state.error = error }
      // What comes after enough is on its way already: the engine was told to stop.
      guard var piece, !piece.isEmpty, state.count < wanted else { return }
      piece.withUTF8 { bytes in
        state.hash.update(UnsafeRawBufferPointer(bytes))
        state.bytes += bytes.count
      }
      state.text += piece
      state.count += 1
      state.firstNs = state.firstNs ?? nowNs
      state.lastNs = nowNs
    }
  }

  public func finish() {
    state.change { $0.finished = true }
  }

  /// Whether there is nothing more to wait for.
  public func isDone(_ state: State) -> Bool {
    state.finished || state.error != nil || state.count >= wanted
  }
}
