import Testing

@testable import RunnerCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// They share this process's number, which is the journal's first name: one folder each.
@Suite struct JournalTests {
  private func text(_ journal: Journal, from offset: Int) -> String {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Journal.readBytes, alignment: 16)
    defer { buffer.deallocate() }
    var found: [UInt8] = []
    var at = offset
    while case let count = journal.read(at, into: buffer), count > 0 {
      found += buffer.prefix(count)
      at += count
    }
    return String(decoding: found, as: UTF8.self)
  }

  private func sequence(_ text: String) throws -> [Int64] {
    try text.split(separator: "\n").map { line in
      guard case .integer(let seq) = try JSONParser.parse(Array(line.utf8))["seq"] else { return -1 }
      return seq
    }
  }

  @Test func everyPlaceIsFoundAgain() throws {
    let log = EventLog(try Journal(directory: try freshFolder()))
    for count in 0..<700 { log.emit("token") { $0.field("count", count) } }
    for seq: Int64 in [1, 2, 255, 256, 257, 513, 700] {
      let found = try sequence(text(log.journal, from: try log.offset(of: seq)))
      #expect(found == Array(seq...700))
    }
    #expect(try log.offset(of: 701) == log.journal.end)
    #expect(throws: Refusal.self) { try log.offset(of: 702) }
  }

  @Test func aTrialsNameIsTakenOnce() throws {
    let folder = try freshFolder()
    let first = EventLog(try Journal(directory: folder))
    try first.beginTrial("t1")
    #expect(Files.isFile("\(folder)/t1.ndjson"))
    let second = EventLog(try Journal(directory: folder))
    #expect(throws: Refusal.self) { try second.beginTrial("t1") }
  }

  @Test func aDiskThatRefusesIsToldAndTheEndIsStillReadable() throws {
    let folder = try freshFolder()
    #expect(symlink("/dev/full", "\(folder)/process-\(ownPID).ndjson") == 0)
    let log = EventLog(try Journal(directory: folder))
    log.emit("heartbeat") { $0.field("phase", String?.none) }
    #expect(log.journal.broken?.code == ENOSPC)
    log.sample(MemoryReading(), tNs: 1, periodNs: 1)
    log.emit("heartbeat") { $0.field("phase", String?.none) }
    #expect(try sequence(text(log.journal, from: 0)) == [1, 2], "a sample that may be lost is none")
  }

  @Test func fewJournalsOfProcessesWithoutATrialAreKept() throws {
    let folder = try freshFolder()
    for number in 0..<20 { try Files.write("\(folder)/process-\(number).ndjson", []) }
    _ = try Journal(directory: folder)
    #expect(Files.list(folder).count == Journal.staleJournalsKept + 1)
  }

  /// The file grows between any two looks of a reader at its end.
  @Test func readersThatKeepUpMeetEveryLine() throws {
    let lines = 20_000
    let log = EventLog(try Journal(directory: try freshFolder()))
    let done = Monitor(0)
    for _ in 0..<3 {
      try startThread("reader") {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Journal.readBytes, alignment: 16)
        defer { buffer.deallocate() }
        var (offset, seen) = (0, 0)
        while seen < lines {
          let count = log.journal.read(offset, into: buffer)
          offset += count
          seen += buffer.prefix(count).count { $0 == 0x0A }
        }
        done.change { $0 += log.journal.read(offset, into: buffer) == 0 ? 1 : 0 }
      }
    }
    for count in 0..<lines { log.emit("token") { $0.field("count", count) } }
    #expect(done.wait(timeoutNs: 60 * nanosecondsPerSecond) { $0 == 3 ? true : nil } == true)
  }

  @Test func manyWritersOneOrder() throws {
    let log = EventLog(try Journal(directory: try freshFolder()))
    let running = Monitor(4)
    for writer in 0..<4 {
      try startThread("writer") {
        for count in 0..<200 {
          if writer == 0 {
            log.sample(MemoryReading(), tNs: monotonicNs(), periodNs: 1_000_000)
          } else {
            log.emit("token") { $0.field("count", count) }
          }
        }
        running.change { $0 -= 1 }
      }
    }
    #expect(running.wait(timeoutNs: 60 * nanosecondsPerSecond) { $0 == 0 ? true : nil } == true)
    let found = try sequence(text(log.journal, from: try log.offset(of: 1)))
    #expect(found == Array(1...800))
  }
}
