#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// Cuts a byte stream into lines and never holds more than one line's worth of it. Does no I/O.
public final class LineSplitter {
  /// The longest line with its newline (the protocol's bound).
  public static let maxLineBytes = 64 * 1024

  public enum Line: Equatable {
    /// A whole line, its newline excluded.
    case whole([UInt8])
    /// Told once, when the bound is passed; the rest, up to the newline, is dropped.
    case tooLong
  }

  private let maxLineBytes: Int
  private var held: [UInt8] = []
  private var skipping = false

  public init(maxLineBytes: Int = LineSplitter.maxLineBytes) {
    self.maxLineBytes = maxLineBytes
  }

  /// Bytes of an unfinished line that are held now.
  public var heldBytes: Int { held.count }

  /// Takes what came; `body` gets each line that it completes, and returns whether it wants more of them.
  public func feed(_ data: UnsafeRawBufferPointer, _ body: (Line) -> Bool) {
    guard var start = data.baseAddress else { return }
    let end = start + data.count
    while start < end {
      guard let newline = memchr(start, 0x0A, end - start) else {
        if take(start, end - start) { _ = body(.tooLong) }
        return
      }
      let stop = UnsafeRawPointer(newline)
      var goOn = true
      if take(start, stop - start) {
        goOn = body(.tooLong)
      } else if !skipping {
        let line = held
        held.removeAll(keepingCapacity: true)
        goOn = body(.whole(line))
      }
      skipping = false
      start = stop + 1
      if !goOn { return }
    }
  }

  /// Adds a piece of a line; true when that has just made it too long.
  private func take(_ piece: UnsafeRawPointer, _ count: Int) -> Bool {
    if skipping { return false }
    if held.count + count >= maxLineBytes {
      held = []
      skipping = true
      return true
    }
    held.append(contentsOf: UnsafeRawBufferPointer(start: piece, count: count))
    return false
  }
}
