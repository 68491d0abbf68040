import Testing

@testable import RunnerCore

@Suite struct SystemTests {
  @Test func aMonitorWaitsUntilItIsAsWanted() throws {
    let count = Monitor(0)
    try startThread("counter") { for _ in 0..<1000 { count.change { $0 += 1 } } }
    #expect(count.wait(timeoutNs: 60 * nanosecondsPerSecond) { $0 == 1000 ? $0 : nil } == 1000)
    #expect(count.wait(timeoutNs: 1_000_000) { $0 > 1000 ? $0 : nil } == nil)
  }

  @Test func filesAreReplacedListedAndRemoved() throws {
    let folder = try freshFolder()
    try Files.makeDirectory("\(folder)/a/b")
    try Files.write("\(folder)/a/b/file", bytes("old"))
    let before = try Files.identity("\(folder)/a/b/file")
    try Files.write("\(folder)/a/b/file", bytes("newer"))
    #expect(Files.read("\(folder)/a/b/file", limit: 100) == bytes("newer"))
    #expect(try Files.identity("\(folder)/a/b/file") != before)
    #expect(Files.read("\(folder)/a/b/file", limit: 2) == bytes("ne"))
    #expect(Files.list("\(folder)/a") == ["b"])
    try Files.removeTree("\(folder)/a")
    #expect(!Files.exists("\(folder)/a"))
    #expect(throws: SystemError.self) { try Files.identity("\(folder)/a") }
  }

  @Test func theSamplerCallsAtItsRateAndStops() throws {
    let calls = Monitor<[Int64]>([])
    let sampler = try Sampler(hz: 1000) { nowNs, periodNs in
      calls.change { $0.append(nowNs) }
      if periodNs != 1_000_000 { calls.change { $0.append(-1) } }
    }
    #expect(calls.wait(timeoutNs: 60 * nanosecondsPerSecond) { $0.count >= 50 ? true : nil } == true)
    let stats = sampler.stop()
    let times = calls.withLock { $0 }
    #expect(Int64(times.count) == stats.samples)
    #expect(times == times.sorted())
    #expect(calls.wait(timeoutNs: 5_000_000) { $0.count > times.count ? true : nil } == nil, "nothing after stop")
  }

  #if os(Linux)
    @Test func theFootprintFollowsWhatIsTouched() throws {
      let memory = try MemoryLinux(limitBytes: 1 << 30, metal: nil, thermal: Gauge(2))
      let before = memory.read()
      let size = 32 << 20
      let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
      block.initializeMemory(as: UInt8.self, repeating: 1, count: size)
      let after = memory.read()
      block.deallocate()
      let grown = try #require(after.footprint) - (try #require(before.footprint))
      // other tests run beside this one, and take and give back some
      #expect(abs(grown - Int64(size)) < 8 << 20)
      #expect(after.available == 1 << 30 - after.footprint!)
      #expect(after.limit == 1 << 30)
      #expect(after.thermal == 2 && after.metal == nil)
      // the kernel batches its counters by thread
      #expect(try #require(memory.peaks().resident) > after.resident! - 1 << 20)
      #expect(try #require(after.virtual) > after.resident!)
      #expect(try #require(after.cpuNs) >= before.cpuNs!)
    }
  #endif
}
