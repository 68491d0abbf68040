import RunnerCore
import RunnerEngines
import Testing

/// Text that an engine calls back with.
@Suite struct PieceStreamTests {
  @Test func countsBytesAndDigestOfThePieces() {
    let stream = PieceStream(wanted: 10)
    stream.take("Grüß", error: nil)
    stream.take("", error: nil)
    stream.take(nil, error: nil)
    stream.take(" Gott", error: nil)
    let state = stream.state.withLock { $0 }
    #expect(state.count == 2)
    #expect(state.bytes == "Grüß Gott".utf8.count)
    #expect(state.text == "Grüß Gott")
    #expect(state.sha256 == SHA256.hexDigest(of: "Grüß Gott"))
    #expect(state.firstNs! <= state.lastNs!)
    #expect(!stream.isDone(state))
  }

  @Test func afterEnoughNothingIsCounted() {
    let stream = PieceStream(wanted: 2)
    for piece in ["a", "b", "c"] { stream.take(piece, error: nil) }
    let state = stream.state.withLock { $0 }
    #expect(state.text == "ab")
    #expect(stream.isDone(state))
    #expect(!state.finished)
  }

  @Test func theFirstErrorCountsAndAnEndWithoutTextIsAStart() {
    let stream = PieceStream(wanted: 2)
    stream.take(nil, error: "first")
    stream.take(nil, error: "second")
    let failed = stream.state.withLock { $0 }
    #expect(failed.error == "first")
    #expect(stream.isDone(failed))
    #expect(!failed.started)
    stream.finish()
    #expect(stream.state.withLock { $0.started })
  }
}
