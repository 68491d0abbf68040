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
    reserve(Self.maxDigits)
    if number < 0 {
      base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: count, as: UInt8.self)
      count &+= 1
    }
    var rest = number.magnitude
    var digits = 1
    var bound: UInt64 = 10
    while rest >= bound {
      digits &+= 1
      if digits == Self.maxDigits - 1 { break }  // the next bound would not fit
      bound &*= 10
    }
    // From the last digit to the first: dividing by a constant is a multiplication.
    var place = count &+ digits
    count = place
    repeat {
      place &-= 1
      let quotient = rest / 10
      base.storeBytes(of: UInt8(truncatingIfNeeded: 48 &+ rest &- quotient &* 10), toByteOffset: place, as: UInt8.self)
      rest = quotient
    } while rest > 0
  }

  /// A sign and the 19 digits of the largest number; 10^19 still fits an unsigned one.
  private static let maxDigits = 20

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
