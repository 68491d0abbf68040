/// Single fields of what the host sent, each with its type and bounds. They throw refusals that name the field.
enum Fields {
  static func integer(
    _ value: JSONValue?, _ name: String, _ range: ClosedRange<Int64>, _ kind: ErrorKind = .badJob
  ) throws(Refusal) -> Int64 {
    guard case .integer(let number) = value, range.contains(number) else {
      let bounds = "an integer from \(range.lowerBound) to \(range.upperBound)"
      throw Refusal(kind, "\(name) must be \(bounds), got \((value ?? .null).shown)")
    }
    return number
  }

  static func integer(
    _ value: JSONValue?, _ name: String, _ range: ClosedRange<Int64>, ifAbsent: Int64
  ) throws(Refusal) -> Int64 {
    guard let value else { return ifAbsent }
    return try integer(value, name, range)
  }

  static func bool(_ value: JSONValue?, _ name: String, ifAbsent: Bool) throws(Refusal) -> Bool {
    switch value {
    case nil: return ifAbsent
    case .bool(let given): return given
    case .some(let other): throw Refusal(.badJob, "\(name) must be true or false, got \(other.shown)")
    }
  }

  static func string(_ value: JSONValue?, _ name: String) throws(Refusal) -> String {
    guard case .string(let text) = value else {
      throw Refusal(.badJob, "\(name) must be a string, got \((value ?? .null).shown)")
    }
    return text
  }

  static func choice(_ value: JSONValue?, _ name: String, among choices: [String]) throws(Refusal) -> String {
    guard case .string(let text) = value, choices.contains(text) else {
      let words = choices.joined(separator: ", ")
      throw Refusal(.badJob, "\(name) must be one of \(words), got \((value ?? .null).shown)")
    }
    return text
  }

  static func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ value: JSONValue?, _ name: String
  ) throws(Refusal) -> Choice {
    let text = try choice(value, name, among: Choice.allCases.map(\.rawValue))
    return Choice(rawValue: text)!  // one of the raw values, as has just been checked
  }

  /// nil for an absent field and for null.
  static func optional<Result>(
    _ value: JSONValue?, _ decode: (JSONValue) throws(Refusal) -> Result
  ) throws(Refusal) -> Result? {
    switch value {
    case nil, .null: return nil
    case .some(let given): return try decode(given)
    }
  }
}
