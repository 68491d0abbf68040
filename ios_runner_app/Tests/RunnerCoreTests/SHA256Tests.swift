import Testing

@testable import RunnerCore

/// Vectors of FIPS 180-4 and NIST's CAVP.
@Suite struct SHA256Tests {
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
  ])
  func knownVectors(_ text: String, _ digest: String) {
    #expect(SHA256.hexDigest(of: text) == digest)
  }

  @Test func aMillionLetters() {
    var hash = PortableSHA256()
    [UInt8](repeating: 0x61, count: 1_000_000).withUnsafeBytes { hash.update($0) }
    let digest = hash.digest().map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    #expect(digest == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func anyDivisionOfTheBytesGivesTheSameDigest() {
    var dice = Dice(4)
    for _ in 0..<100 {
      let data = (0..<Int.random(in: 0...300, using: &dice)).map { _ in UInt8.random(in: 0...255, using: &dice) }
      var whole = PortableSHA256()
      data.withUnsafeBytes { whole.update($0) }
      var parts = PortableSHA256()
      var rest = data[...]
      while !rest.isEmpty {
        let piece = Array(rest.prefix(Int.random(in: 1...90, using: &dice)))
        piece.withUnsafeBytes { parts.update($0) }
        rest = rest.dropFirst(piece.count)
      }
      #expect(parts.digest() == whole.digest())
    }
  }
}
