#if os(Linux)
  @preconcurrency import Glibc

  /// What this process costs, read from Linux. The only file that knows /proc's counters.
  ///
  /// `footprint` is the likeness of iOS's phys_footprint: anonymous and swapped pages and page tables; clean file pages
  /// do not count. Anonymous pages, resident and virtual size are read at every sample, from /proc/self/statm, which
  /// costs 1.6 µs. Swap and page tables stand only in /proc/self/status, which costs 10 µs, so they are read every
  /// `slowNs`: page tables are 1/512 of what they map, and a phone has no swap.
  public final class MemoryLinux: MemoryProducer {
    static let bufferBytes = 8192
    static let slowNs: Int64 = 10_000_000

    private struct Counters {
      var virtual: Int64 = 0
      var resident: Int64 = 0
      var anonymous: Int64 = 0
      /// Swap and page tables.
      var slow: Int64 = 0
      var slowReadNs: Int64 = 0

      var footprint: Int64 { anonymous + slow }
    }

    private struct State {
      let statm: Int32
      let status: Int32
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLinux.bufferBytes, alignment: 16)
      var counters = Counters()
    }

    private let state: Monitor<State>
    private let limitBytes: Int64?
    private let metal: Gauge?
    private let thermal: Gauge?

    /// `limitBytes`: what a virtual phone tells its apps. `metal`, `thermal`: what it emulates; nil where it does not.
    public init(limitBytes: Int64?, metal: Gauge?, thermal: Gauge?) throws(SystemError) {
      let statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
      let status = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
      if statm < 0 || status < 0 { throw SystemError("open /proc/self") }
      state = Monitor(State(statm: statm, status: status))
      self.limitBytes = limitBytes
      self.metal = metal
      self.thermal = thermal
    }

    public func read() -> MemoryReading {
      let counters = self.counters()
      var usage = rusage()
      getrusage(RUSAGE_SELF.rawValue, &usage)
      var reading = MemoryReading()
      reading.footprint = counters.footprint
      reading.resident = counters.resident
      reading.virtual = counters.virtual
      reading.available = limitBytes.map { max(0, $0 - counters.footprint) }
      reading.metal = metal?.value
      reading.pageins = Int64(usage.ru_majflt)
      reading.faults = Int64(usage.ru_minflt) + Int64(usage.ru_majflt)
      reading.cpuNs = processCPUNs()
      reading.thermal = thermal?.value
      return reading
    }

    public func peaks() -> KernelPeaks {
      state.withLock { state in
        let text = Self.content(state.status, state.buffer)
        return KernelPeaks(
          footprint: nil, resident: Self.bytes("VmHWM:", in: text), virtual: Self.bytes("VmPeak:", in: text))
      }
    }

    private func counters() -> Counters {
      state.withLock { state in
        let nowNs = monotonicNs()
        if nowNs - state.counters.slowReadNs >= Self.slowNs {
          let text = Self.content(state.status, state.buffer)
          state.counters.slow = Self.bytes("VmSwap:", in: text) + Self.bytes("VmPTE:", in: text)
          state.counters.slowReadNs = nowNs
        }
        // Pages: total, resident, of these shared (file-backed and shared memory).
        let text = Self.content(state.statm, state.buffer)
        var place = 0
        let page = Int64(systemPageSize)
        state.counters.virtual = Self.number(text, &place) * page
        state.counters.resident = Self.number(text, &place) * page
        state.counters.anonymous = state.counters.resident - Self.number(text, &place) * page
        return state.counters
      }
    }

    private static func content(_ file: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
      let count = pread(file, buffer.baseAddress!, buffer.count, 0)
      return UnsafeRawBufferPointer(rebasing: buffer.prefix(max(0, count)))
    }

    /// A field `Name:   123 kB`; 0 where the kernel has none.
    private static func bytes(_ name: StaticString, in text: UnsafeRawBufferPointer) -> Int64 {
      let length = name.utf8CodeUnitCount
      var at = 0
      while at + length < text.count {
        if memcmp(text.baseAddress! + at, name.utf8Start, length) == 0 {
          var place = at + length
          return number(text, &place) * 1024
        }
        guard let newline = memchr(text.baseAddress! + at, 0x0A, text.count - at) else { break }
        at = UnsafeRawPointer(newline) - text.baseAddress! + 1
      }
      return 0
    }

    /// The next number, spaces before it skipped; `place` is left behind it.
    @inline(__always)
    private static func number(_ text: UnsafeRawBufferPointer, _ place: inout Int) -> Int64 {
      while place < text.count, text[place] == 0x20 || text[place] == 0x09 { place += 1 }
      var value: Int64 = 0
      while place < text.count, text[place] >= 0x30, text[place] <= 0x39 {
        value = value &* 10 &+ Int64(text[place] &- 0x30)
        place += 1
      }
      return value
    }
  }
#endif
