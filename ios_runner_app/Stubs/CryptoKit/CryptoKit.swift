// CryptoKit as far as the runner uses it, for checking types on a machine without Apple's SDK.

public struct SHA256: Sendable {
  public struct Digest: Sequence, Sendable {
    public func makeIterator() -> IndexingIterator<[UInt8]> { [].makeIterator() }
  }

  public init() {}
  public mutating func update(bufferPointer: UnsafeRawBufferPointer) {}
  public func finalize() -> Digest { Digest() }
}
