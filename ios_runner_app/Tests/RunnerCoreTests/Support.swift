import Testing

@testable import RunnerCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The same numbers at every run, and different ones for every seed.
struct Dice: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  }

  mutating func next() -> UInt64 {
    state ^= state &<< 13
    state ^= state &>> 7
    state ^= state &<< 17
    return state
  }
}

enum Fixtures {
  private static let folder = "\(Files.parent(of: Files.parent(of: #filePath)!)!)/Fixtures"
  private static let limit = 1 << 20

  /// The lines of a golden file, newlines excluded.
  static func lines(_ name: String) throws -> [[UInt8]] {
    let bytes = try #require(Files.read("\(folder)/\(name)", limit: limit))
    return bytes.split(separator: 0x0A).map(Array.init)
  }
}

/// Below it lie the folders of this process's tests; gone when it ends.
private let base: String = {
  atexit { try? Files.removeTree("/tmp/runner-tests-\(ownPID)") }
  return "/tmp/runner-tests-\(ownPID)"
}()

/// A folder of a test's own; its name is free.
func freshFolder() throws -> String {
  var dice = SystemRandomNumberGenerator()
  let folder = "\(base)/\(dice.next())"
  try Files.makeDirectory(folder)
  return folder
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
