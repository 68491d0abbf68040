/// The event log: numbers, stamps and encodes every event, and hands it to the journal, from which it is sent.
///
/// Its lock makes the order of `seq` the order in the journal and the order on the wire.
public final class EventLog: Sendable {
  /// Samples wait at most this long for their write(2). The protocol allows 100 ms; a kill should cost less evidence.
  static let sampleBatchNs: Int64 = 5_000_000
  /// Samples wait at most this long until they are sent: waking the sender costs more than a sample.
  static let sampleSendNs: Int64 = 20_000_000

  private struct State {
    var seq: Int64 = 0
    var oldestPendingNs: Int64?
    var toldNs: Int64 = 0
    let encoder = EventEncoder()
  }

  public let journal: Journal
  private let state = Monitor(State())

  public init(_ journal: Journal) {
    self.journal = journal
  }

  /// Records an event now: it is in the journal when this returns. `fields` adds to the common ones.
  public func emit(_ event: StaticString, _ fields: (EventEncoder) -> Void) {
    state.withLock { emit(event, &$0, fields) }
  }

  private func emit(_ event: StaticString, _ state: inout State, _ fields: (EventEncoder) -> Void) {
    state.encoder.begin(event, seq: state.seq + 1, tNs: monotonicNs())
    fields(state.encoder)
    state.encoder.end()
    state.seq += 1
    state.oldestPendingNs = nil
    journal.append(state.seq, state.encoder.bytes, .writeAndTell)
  }

  /// Gives the journal the trial's name, and records the trial's first sign of life in it.
  func beginTrial(_ trial: String) throws(Refusal) {
    let outcome: Result<Bool, SystemError> = state.withLock { state in
      Result { () throws(SystemError) in
        guard try journal.rename(to: trial) else { return false }
        emit("heartbeat", &state) { $0.field("phase", String?.none) }
        return true
      }
    }
    switch outcome {
    case .success(true): return
    case .success(false):
      throw Refusal(.badCommand, "trial \(trial) has been run on this phone: choose another name")
    case .failure(let error): throw Refusal(.journalError, "\(error)")
    }
  }

  /// Records one reading taken at `tNs`; the next is expected `periodNs` later.
  ///
  /// When the journal is broken nothing is recorded: a sample that may be lost is no evidence.
  public func sample(_ reading: MemoryReading, tNs: Int64, periodNs: Int64) {
    if journal.broken != nil { return }
    state.withLock { state in
      state.seq += 1
      state.encoder.begin("sample", seq: state.seq, tNs: tNs)
      state.encoder.array("d") { reading.encode(into: $0) }
      state.encoder.end()
      let oldestNs = state.oldestPendingNs ?? tNs
      if tNs + periodNs - oldestNs <= Self.sampleBatchNs {
        state.oldestPendingNs = oldestNs
        return journal.append(state.seq, state.encoder.bytes, .none)
      }
      state.oldestPendingNs = nil
      let tell = tNs + periodNs - state.toldNs > Self.sampleSendNs
      if tell { state.toldNs = tNs }
      journal.append(state.seq, state.encoder.bytes, tell ? .writeAndTell : .write)
    }
  }

  /// Writes what is pending and tells where an event begins in the journal; the next one's place is the end.
  func offset(of seq: Int64) throws(Refusal) -> Int {
    let found: (offset: Int?, newest: Int64) = state.withLock { state in
      journal.flush()
      state.oldestPendingNs = nil
      if seq > state.seq { return (seq == state.seq + 1 ? journal.end : nil, state.seq) }
      return (journal.offset(of: seq), state.seq)
    }
    guard let offset = found.offset else {
      throw Refusal(.badCommand, "event \(seq) has not happened; the newest is \(found.newest)")
    }
    return offset
  }
}
