#if canImport(CryptoKit)
  import CryptoKit
#endif

/// SHA-256: Apple's where there is CryptoKit (it uses the chip's instructions), else our own.
///
/// Linux has no such thing in its C library, and a package that has cannot be had without a network at build time.
public struct SHA256 {
  #if canImport(CryptoKit)
    private var hash = CryptoKit.SHA256()
  #else
    private var hash = PortableSHA256()
  #endif

  public init() {}

  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    #if canImport(CryptoKit)
      hash.update(bufferPointer: bytes)
    #else
      hash.update(bytes)
    #endif
  }

  /// The digest of all bytes so far, 64 lower-case hex digits.
  public func hexDigest() -> String {
    #if canImport(CryptoKit)
      let bytes = Array(hash.finalize())
    #else
      let bytes = hash.digest()
    #endif
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// The digest of a text's UTF-8.
  public static func hexDigest(of text: String) -> String {
    var hash = SHA256()
    Array(text.utf8).withUnsafeBytes { hash.update($0) }
    return hash.hexDigest()
  }

  static func isHexDigest(_ text: String) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }
}
