import Testing

@testable import RunnerCore

/// The golden files are read by both runners' tests and the host's.
@Suite struct GoldenTests {
  /// Refused by the app that gets them, not by the decoder.
  static let needTheApp = ["too_long", "nothing_running", "unknown_model", "unknown_engine"]

  @Test func commandsAreUnderstood() throws {
    for line in try Fixtures.lines("commands.ndjson") {
      let sent = try JSONParser.parse(line)
      let command = try Command.decode(line)
      guard case .run(let trial, let job) = command else { continue }
      #expect(sent["trial"] == .string(trial))
      #expect(sent["job"]?["model"] == .string(job.model))
      #expect(sent["job"]?["sample_hz"] == .integer(Int64(job.sampleHz)))
      #expect((sent["job"]?["warmup"] ?? .bool(false)) == .bool(job.warmup))
      #expect((sent["job"]?["copies"] ?? .integer(1)) == .integer(Int64(job.copies)))
      #expect(sent["job"]?["guard"]?["reserve_bytes"] == job.guardReserveBytes.map { .integer($0) })
    }
  }

  @Test func absentFieldsTakeTheirDocumentedValues() throws {
    let line =
      #"{"cmd":"run","trial":"t","job":{"model":"m","engine":"e","backend":"cpu","cache":"none","sample_hz":1}}"#
    guard case .run(_, let job) = try Command.decode(bytes(line)) else { throw JSONError(description: "no run") }
    #expect(job.sha256 == nil && job.maxTokens == nil && job.prompt == nil && job.guardReserveBytes == nil)
    #expect(job.decodeTokens == 0 && job.holdMs == 0 && job.seed == 0 && job.prewarm == .off && !job.warmup)
    #expect(job.copies == 1)
  }

  @Test func badCommandsAreRefusedByKind() throws {
    for row in try Fixtures.lines("bad_commands.ndjson").map(JSONParser.parse) {
      guard case .string(let kind) = row["kind"], case .string(let why) = row["why"] else {
        Issue.record("a row without kind or why")
        continue
      }
      if Self.needTheApp.contains(kind) || why == "resume from the future" { continue }
      let line = try #require(Self.wireBytes(row))
      do throws(Refusal) {
        _ = try Command.decode(line)
        Issue.record("not refused: \(why)")
      } catch {
        #expect(error.kind.rawValue == kind, "\(why)")
        #expect(!error.message.isEmpty)
      }
    }
  }

  @Test func eventsAreWhatTheEncoderWrites() throws {
    let encoder = EventEncoder()
    for line in try Fixtures.lines("events.ndjson") {
      guard case .object(let members) = try JSONParser.parse(line), case .integer(let seq) = members[1].value,
        case .integer(let tNs) = members[2].value, case .string(let name) = members[3].value
      else { throw JSONError(description: "no event") }
      encoder.begin("NAME", seq: seq, tNs: tNs)
      for member in members.dropFirst(4) { encoder.field(named: member.name, member.value) }
      encoder.end()
      let written = String(decoding: encoder.bytes, as: UTF8.self).replacing("NAME", with: name)
      #expect(written == String(decoding: line, as: UTF8.self) + "\n")
    }
  }

  private static func wireBytes(_ row: JSONValue) -> [UInt8]? {
    if case .string(let line) = row["line"] { return bytes(line) }
    if case .string(let hex) = row["hex"] {
      let digits = Array(hex.utf8)
      return stride(from: 0, to: digits.count, by: 2).map {
        UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
      }
    }
    guard case .string(let text) = row["repeat"]?["text"], case .integer(let times) = row["repeat"]?["times"] else {
      return nil
    }
    return bytes(String(repeating: text, count: Int(times)))
  }
}
