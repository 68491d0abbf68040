/// What the host may say. Everything from the other end is untrusted: unknown fields, wrong types and values out of
/// range are refused by name. Does no I/O and knows no engine.
public enum Command: Equatable, Sendable {
  /// Who are you?
  case hello(hostT: Int64)
  /// Clock probe; `hostT` is echoed.
  case ping(hostT: Int64)
  case run(trial: String, job: Job)
  case resume(fromSeq: Int64)
  case cancel
  case bye

  public static let protocolVersion: Int64 = 1
  /// The journal's name before a trial begins; no trial may look like one.
  public static let processJournalPrefix = "process-"
  static let maxTrialBytes = 100

  private static let fields: [(name: String, fields: [String])] = [
    ("hello", ["host_t"]), ("run", ["trial", "job"]), ("resume", ["from_seq"]), ("ping", ["host_t"]),
    ("cancel", []), ("bye", []),
  ]

  /// Decodes one line. Throws a refusal naming what is wrong and what would be right.
  public static func decode(_ line: [UInt8]) throws(Refusal) -> Command {
    let message: JSONValue
    do {
      message = try JSONParser.parse(line)
    } catch {
      throw Refusal(.badJSON, "the line is not JSON in UTF-8: \(error)")
    }
    guard case .object(let members) = message else {
      throw Refusal(.badCommand, "a command is a JSON object")
    }
    try checkVersion(message)
    let given = message["cmd"] ?? .null
    guard case .string(let name) = given, let allowed = fields.first(where: { $0.name == name })?.fields else {
      let names = fields.map(\.name).joined(separator: ", ")
      throw Refusal(.badCommand, "cmd must be one of \(names), got \(given.shown)")
    }
    let known = ["v", "cmd"] + allowed
    if let unknown = members.map(\.name).filter({ !known.contains($0) }).min() {
      throw Refusal(.badCommand, "\(name) has no field \(JSONValue.string(unknown).shown)")
    }
    return try decode(name, message)
  }

  private static func decode(_ name: String, _ message: JSONValue) throws(Refusal) -> Command {
    switch name {
    case "hello":
      if message["v"] == nil {
        throw Refusal(.badCommand, "hello needs v, the version of the protocol")
      }
      return .hello(hostT: try hostT(message))
    case "ping": return .ping(hostT: try hostT(message))
    case "run": return try run(message)
    case "resume":
      let fromSeq = try Fields.integer(message["from_seq"], "from_seq", 1...Int64.max, .badCommand)
      return .resume(fromSeq: fromSeq)
    case "cancel": return .cancel
    default: return .bye
    }
  }

  private static func checkVersion(_ message: JSONValue) throws(Refusal) {
    switch message["v"] {
    case nil, .integer(protocolVersion): return
    case .integer, .hugeInteger:
      let given = message["v"]?.shown ?? "null"
      throw Refusal(
        .badVersion, "this runner speaks version \(protocolVersion), not \(given): update the older side")
    case .some(let value):
      throw Refusal(.badCommand, "v must be an integer, got \(value.shown)")
    }
  }

  private static func hostT(_ message: JSONValue) throws(Refusal) -> Int64 {
    try Fields.integer(message["host_t"], "host_t", Int64.min...Int64.max, .badCommand)
  }

  private static func run(_ message: JSONValue) throws(Refusal) -> Command {
    guard case .string(let trial) = message["trial"] ?? .null, isTrialName(trial) else {
      throw Refusal(
        .badCommand,
        "trial must be 1 to \(maxTrialBytes) letters, digits, '.', '_' or '-', begin with a letter or digit and not "
          + "with '\(processJournalPrefix)', got \((message["trial"] ?? .null).shown)")
    }
    guard let job = message["job"] else {
      throw Refusal(.badCommand, "run needs a job", trial: trial)
    }
    do {
      return .run(trial: trial, job: try Job.decode(job))
    } catch {
      throw error.of(trial)
    }
  }

  /// It becomes a file name: no separator, no leading dot, ASCII only.
  static func isTrialName(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard let first = bytes.first, bytes.count <= maxTrialBytes, isLetterOrDigit(first) else { return false }
    return !text.hasPrefix(processJournalPrefix)
      && bytes.allSatisfy { isLetterOrDigit($0) || [0x2D, 0x2E, 0x5F].contains($0) }
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: return true
    default: return false
    }
  }
}
