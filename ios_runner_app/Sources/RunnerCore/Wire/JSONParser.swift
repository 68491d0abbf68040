/// A text that is not JSON; says what is wrong and where.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  public let description: String
}

/// Strict JSON (RFC 8259) in UTF-8, one value, bounded depth. Only for short texts from outside: commands and notes.
public struct JSONParser {
  /// A command has a depth of three. The Python runner has the same bound.
  public static let maxDepth = 64
  /// Digits of an integer beyond which it is not even read; the bound of Python's `int`.
  static let maxDigits = 4300

  private let bytes: [UInt8]
  private var at = 0
  private var depth = 0

  private init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// The one value that `bytes` are.
  public static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    // Decoding repairs what is not UTF-8, so the repaired text differs; `String(validating:)` needs iOS 18.
    guard String(decoding: bytes, as: UTF8.self).utf8.elementsEqual(bytes) else {
      throw JSONError(description: "invalid UTF-8")
    }
    var parser = JSONParser(bytes)
    parser.skipSpace()
    let value = try parser.value()
    parser.skipSpace()
    if parser.at < bytes.count { throw parser.error("something follows the value") }
    return value
  }

  private func error(_ what: String) -> JSONError {
    JSONError(description: "\(what) at byte \(at)")
  }

  private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { at += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    if next != byte { return false }
    at += 1
    return true
  }

  private mutating func value() throws(JSONError) -> JSONValue {
    guard let byte = next else { throw error("a value is expected") }
    switch byte {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("a value is expected")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    for offset in 0..<word.utf8CodeUnitCount {
      if !take(word.utf8Start[offset]) { throw error("a value is expected") }
    }
    return value
  }

  private mutating func deeper() throws(JSONError) {
    depth += 1
    if depth > Self.maxDepth { throw error("nested too deeply") }
    at += 1
    skipSpace()
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    try deeper()
    defer { depth -= 1 }
    var items: [JSONValue] = []
    if take(UInt8(ascii: "]")) { return .array(items) }
    while true {
      items.append(try value())
      skipSpace()
      if take(UInt8(ascii: "]")) { return .array(items) }
      if !take(UInt8(ascii: ",")) { throw error("',' or ']' is expected") }
      skipSpace()
    }
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    try deeper()
    defer { depth -= 1 }
    var members: [JSONValue.Member] = []
    if take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      if next != UInt8(ascii: "\"") { throw error("a name in quotes is expected") }
      let name = try string()
      skipSpace()
      if !take(UInt8(ascii: ":")) { throw error("':' is expected") }
      skipSpace()
      members.append(JSONValue.Member(name, try value()))
      skipSpace()
      if take(UInt8(ascii: "}")) { return .object(members) }
      if !take(UInt8(ascii: ",")) { throw error("',' or '}' is expected") }
      skipSpace()
    }
  }

  private mutating func digits() throws(JSONError) -> Int {
    let start = at
    while let byte = next, byte >= 0x30 && byte <= 0x39 { at += 1 }
    if at == start { throw error("a digit is expected") }
    return at - start
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = at
    _ = take(UInt8(ascii: "-"))
    if take(UInt8(ascii: "0")) {
      if let byte = next, byte >= 0x30 && byte <= 0x39 { throw error("a number has no leading zero") }
    } else if try digits() > Self.maxDigits {
      throw error("an integer with more than \(Self.maxDigits) digits")
    }
    var whole = true
    if take(UInt8(ascii: ".")) {
      whole = false
      _ = try digits()
    }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      whole = false
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      _ = try digits()
    }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    if whole {
      return Int64(text).map { .integer($0) } ?? .hugeInteger(text)
    }
    return .number(Double(text) ?? .infinity)
  }
}

extension JSONParser {
  private mutating func string() throws(JSONError) -> String {
    at += 1
    var out: [UInt8] = []
    while let byte = next {
      at += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
      case UInt8(ascii: "\\"): out.append(contentsOf: try escaped())
      case 0..<0x20: throw error("a control character in a string")
      default: out.append(byte)
      }
    }
    throw error("a string without its end")
  }

  private mutating func escaped() throws(JSONError) -> [UInt8] {
    guard let byte = next else { throw error("a string without its end") }
    at += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0C]
    case UInt8(ascii: "n"): return [0x0A]
    case UInt8(ascii: "r"): return [0x0D]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"): return Array(Character(try scalar()).utf8)
    default: throw error("an unknown escape")
    }
  }

  /// After `\u`. A surrogate without its partner becomes the replacement character.
  private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
    let first = try fourHexDigits()
    if first & 0xFC00 == 0xD800, next == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") {
      let before = at
      at += 2
      let second = try fourHexDigits()
      if second & 0xFC00 == 0xDC00 {
        return Unicode.Scalar(0x10000 + (first & 0x3FF) << 10 + second & 0x3FF) ?? "\u{FFFD}"
      }
      at = before
    }
    return Unicode.Scalar(first) ?? "\u{FFFD}"
  }

  private mutating func fourHexDigits() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("four hex digits are expected")
      }
      value = value << 4 | UInt32(digit)
      at += 1
    }
    return value
  }
}
