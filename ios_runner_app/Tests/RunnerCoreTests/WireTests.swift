import Testing

@testable import RunnerCore

@Suite struct LineSplitterTests {
  private func split(_ data: [UInt8], at cuts: [Int], maxLineBytes: Int) -> [LineSplitter.Line] {
    let splitter = LineSplitter(maxLineBytes: maxLineBytes)
    var lines: [LineSplitter.Line] = []
    var start = 0
    for end in cuts.sorted() + [data.count] {
      Array(data[start..<end]).withUnsafeBytes { piece in
        splitter.feed(piece) {
          lines.append($0)
          return true
        }
      }
      #expect(splitter.heldBytes < maxLineBytes)
      start = end
    }
    return lines
  }

  @Test func anyDivisionOfTheBytesGivesTheSameLines() {
    var dice = Dice(1)
    for _ in 0..<300 {
      let data = (0..<Int.random(in: 0...80, using: &dice)).map { _ in
        [UInt8(0x0A), 0x61, 0x62].randomElement(using: &dice)!
      }
      let whole = split(data, at: [], maxLineBytes: 8)
      let cuts = (0..<Int.random(in: 0...6, using: &dice)).map { _ in Int.random(in: 0...data.count, using: &dice) }
      #expect(split(data, at: cuts, maxLineBytes: 8) == whole)
    }
  }

  @Test func tooLongIsToldOnceAndSkippedToItsEnd() {
    #expect(split(bytes("aaaaaaaaaaaaaaaa\nb\n"), at: [3, 9], maxLineBytes: 8) == [.tooLong, .whole(bytes("b"))])
    #expect(split(bytes("1234567\n12345678\n"), at: [], maxLineBytes: 8) == [.whole(bytes("1234567")), .tooLong])
  }

  @Test func nobodyIsAskedAfterSayingNo() {
    var asked = 0
    bytes("a\nb\nc\n").withUnsafeBytes { data in
      LineSplitter().feed(data) { _ in
        asked += 1
        return asked < 2
      }
    }
    #expect(asked == 2)
  }
}

@Suite struct JSONTests {
  @Test(arguments: [
    "", " ", "tru", "01", "1.", ".5", "+1", "1e", "-", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}",
    "\"", "\"\\x\"", "\"\\u12\"", "\"\u{1}\"", "NaN", "Infinity", "1 2", "nul", "\u{FEFF}1", "[", "]", "'a'",
    "{\"a\":1}}",
  ])
  func notJSON(_ text: String) {
    #expect(throws: JSONError.self) { try JSONParser.parse(bytes(text)) }
  }

  @Test func kindsOfNumbersStayApart() throws {
    #expect(try JSONParser.parse(bytes("1")) == .integer(1))
    #expect(try JSONParser.parse(bytes("-9223372036854775808")) == .integer(.min))
    #expect(try JSONParser.parse(bytes("9223372036854775808")) == .hugeInteger("9223372036854775808"))
    #expect(try JSONParser.parse(bytes("1.0")) == .number(1))
    #expect(try JSONParser.parse(bytes("1e2")) == .number(100))
    #expect(try JSONParser.parse(bytes("true")) == .bool(true))
  }

  @Test func escapesAndSurrogates() throws {
    #expect(try JSONParser.parse(bytes(#""\ud83d\ude42\n\u00fc""#)) == .string("🙂\nü"))
    #expect(try JSONParser.parse(bytes(#""\ud83dx""#)) == .string("\u{FFFD}x"))
  }

  @Test func depthIsBounded() throws {
    let deepest = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
    _ = try JSONParser.parse(bytes(deepest))
    #expect(throws: JSONError.self) { try JSONParser.parse(bytes("[\(deepest)]")) }
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    var dice = Dice(2)
    let encoder = EventEncoder()
    for _ in 0..<300 {
      let value = Self.random(&dice, depth: 3)
      encoder.begin("x", seq: 1, tNs: 1)
      encoder.field("value", value)
      encoder.end()
      #expect(try JSONParser.parse(Array(encoder.bytes.dropLast()))["value"] == value)
    }
  }

  @Test func noiseNeverTraps() {
    var dice = Dice(3)
    let alphabet = bytes("{}[]\",:\\ue0129-+.tfn\u{1}\u{FF}") + [0xFF, 0xC3]
    for _ in 0..<3000 {
      let noise = (0..<Int.random(in: 0...40, using: &dice)).map { _ in alphabet.randomElement(using: &dice)! }
      _ = try? JSONParser.parse(noise)
      _ = try? Command.decode(noise)
    }
  }

  private static func random(_ dice: inout Dice, depth: Int) -> JSONValue {
    switch Int.random(in: 0...(depth > 0 ? 6 : 4), using: &dice) {
    case 0: return .null
    case 1: return .bool(.random(using: &dice))
    case 2: return .integer(Int64.random(in: .min ... .max, using: &dice))
    case 3: return .number(Double.random(in: -1e9...1e9, using: &dice))
    case 4: return .string(text(&dice))
    case 5: return .array((0..<3).map { _ in random(&dice, depth: depth - 1) })
    default: return .object((0..<3).map { .init("\($0)\(text(&dice))", random(&dice, depth: depth - 1)) })
    }
  }

  private static func text(_ dice: inout Dice) -> String {
    let scalars: [Unicode.Scalar] = ["a", "\"", "\\", "\n", "\u{1}", "ü", "🙂", "/", "\u{7F}", "\u{2028}"]
    return String(String.UnicodeScalarView((0..<6).map { _ in scalars.randomElement(using: &dice)! }))
  }
}

@Suite struct TextTests {
  @Test func aLongTextIsCutBetweenCharacters() {
    #expect(bounded("short", 10) == "short")
    #expect(bounded("aaaaaaaaaaaa", 10) == "aaaaaaa...")
    #expect(bounded("aaaaa🙂🙂🙂", 12) == "aaaaa🙂...")
  }

  @Test(arguments: ["t1", "20261122-150405-0001", "a.b_c-d"])
  func trialNames(_ name: String) {
    #expect(Command.isTrialName(name))
  }

  @Test(arguments: ["", ".a", "a/b", "-a", "process-1", "ü", "a b", String(repeating: "t", count: 101)])
  func noTrialNames(_ name: String) {
    #expect(!Command.isTrialName(name))
  }
}

@Suite struct ByteBufferTests {
  @Test func numbersAreWrittenAsTheyAre() {
    var dice = Dice(9)
    var numbers: [Int64] = [0, 9, 10, 99, 100, -1, -10, .min, .max, 1_000_000_000_000_000_000, 999_999_999_999_999_999]
    for shift in 0..<63 { numbers.append(Int64.random(in: .min ... .max, using: &dice) >> shift) }
    let buffer = ByteBuffer(capacity: 1)
    for number in numbers {
      buffer.clear()
      buffer.append(number)
      #expect(String(decoding: buffer.bytes, as: UTF8.self) == String(number))
    }
  }
}
