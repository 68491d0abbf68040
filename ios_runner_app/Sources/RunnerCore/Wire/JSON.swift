/// A JSON value that keeps what a measurement must not blur: `1`, `1.0`, `true` and `"1"` are four different things.
///
/// The system's decoders are not used: they blur exactly that, and Foundation is not linked (see Package.swift).
public enum JSONValue: Equatable, Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  /// An integer beyond 64 bits, as it was written. It is valid JSON and in range of nothing.
  case hugeInteger(String)
  case number(Double)
  case string(String)
  case array([JSONValue])
  /// In the order of the text; of two members with one name the last counts.
  case object([Member])

  public struct Member: Equatable, Sendable {
    public let name: String
    public let value: JSONValue

    public init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  /// A member of an object; nil when this is none or it has no such member.
  public subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.name == name }?.value
  }
}

extension JSONValue {
  /// A value from outside, for a message: JSON, short, on one line.
  public var shown: String {
    let text = self.text
    return text.count <= 80 ? text : String(text.prefix(77)) + "..."
  }

  /// JSON without anything that could break a line.
  public var text: String {
    switch self {
    case .null: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return String(value)
    case .hugeInteger(let text): return text
    case .number(let value): return value.isFinite ? "\(value)" : "null"
    case .string(let value): return Self.quoted(value)
    case .array(let items): return "[" + items.map(\.text).joined(separator: ", ") + "]"
    case .object(let members):
      return "{" + members.map { "\(Self.quoted($0.name)): \($0.value.text)" }.joined(separator: ", ") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x22: out += "\\\""
      case 0x5C: out += "\\\\"
      case 0x20..<0x7F: out.unicodeScalars.append(scalar)
      default:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
      }
    }
    return out + "\""
  }
}
