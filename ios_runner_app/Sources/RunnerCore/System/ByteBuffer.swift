#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// Bytes in memory that was asked for once: what is written at 1 kHz must not ask for any.
///
/// It grows when it must, but it is made large enough not to. Belongs to one thread, or to whoever holds a lock.
public final class ByteBuffer {
  public private(set) var count = 0
  private var base: UnsafeMutableRawPointer
  private var capacity: Int

  /// Pages of it that are never written cost nothing.
  public init(capacity: Int) {
    self.capacity = capacity
    base = .allocate(byteCount: capacity, alignment: 16)
  }

  deinit { base.deallocate() }

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  public func clear() { count = 0 }

  @inline(__always)
  public func append(_ byte: UInt8) {
    reserve(1)
    base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
    count &+= 1
  }

  public func append(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    reserve(bytes.count)
    memcpy(base + count, start, bytes.count)
    count &+= bytes.count
  }

  public func append(_ text: StaticString) {
    append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Decimal digits.
  public func append(_ number: Int64) {
    if number == 0 { return append(UInt8(ascii: "0")) }
    if number < 0 { append(UInt8(ascii: "-")) }
    var rest = number.magnitude
    var divisor: UInt64 = 1
    while rest / divisor >= 10 { divisor &*= 10 }
    while divisor > 0 {
      append(UInt8(truncatingIfNeeded: 48 &+ rest / divisor))
      rest %= divisor
      divisor /= 10
    }
  }

  @inline(__always)
  private func reserve(_ more: Int) {
    if count &+ more > capacity { grow(more) }
  }

  @inline(never)
  private func grow(_ more: Int) {
    let larger = max(capacity * 2, count + more)
    let moved = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    memcpy(moved, base, count)
    base.deallocate()
    (base, capacity) = (moved, larger)
  }
}
