#if os(Linux)
  @preconcurrency import Glibc

  /// What this process costs, read from Linux. The only file that knows /proc's counters.
  ///
  /// `footprint` is the likeness of iOS's phys_footprint: anonymous and swapped pages and page tables; clean file pages
  /// do not count. One pread of /proc/self/status costs 11 µs; /proc/self/statm 2 µs, but it has neither swap nor page
  /// tables, so every sample uses the former, at 1 kHz too.
  public final class MemoryLinux: MemoryProducer {
    static let statusBytes = 8192

    private struct Status {
      let file: Int32
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLinux.statusBytes, alignment: 16)
      var counters = Counters()
    }

    /// Fields of /proc/self/status, bytes.
    private struct Counters {
      var footprint: Int64 = 0
      var resident: Int64 = 0
      var virtual: Int64 = 0
      var peakResident: Int64 = 0
      var peakVirtual: Int64 = 0
    }

    private let status: Monitor<Status>
    private let limitBytes: Int64?
    private let metal: Gauge?
    private let thermal: Gauge?

    /// `limitBytes`: what a virtual phone tells its apps. `metal`, `thermal`: what it emulates; nil where it does not.
    public init(limitBytes: Int64?, metal: Gauge?, thermal: Gauge?) throws(SystemError) {
      let file = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
      if file < 0 { throw SystemError("open /proc/self/status") }
      status = Monitor(Status(file: file))
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
      let counters = self.counters()
      return KernelPeaks(footprint: nil, resident: counters.peakResident, virtual: counters.peakVirtual)
    }

    private func counters() -> Counters {
      status.withLock { status in
        let count = pread(status.file, status.buffer.baseAddress!, status.buffer.count, 0)
        if count > 0 {
          status.counters = Self.parse(UnsafeRawBufferPointer(rebasing: status.buffer.prefix(count)))
        }
        return status.counters
      }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> Counters {
      var counters = Counters()
      var at = 0
      while at < text.count {
        // Only the lines that begin with V or R: VmPeak to VmSwap, RssAnon.
        if text[at] == UInt8(ascii: "V") || text[at] == UInt8(ascii: "R") {
          take(text, at, "RssAnon:", adding: &counters.footprint)
          take(text, at, "VmSwap:", adding: &counters.footprint)
          take(text, at, "VmPTE:", adding: &counters.footprint)
          take(text, at, "VmRSS:", adding: &counters.resident)
          take(text, at, "VmSize:", adding: &counters.virtual)
          take(text, at, "VmHWM:", adding: &counters.peakResident)
          take(text, at, "VmPeak:", adding: &counters.peakVirtual)
        }
        guard let newline = memchr(text.baseAddress! + at, 0x0A, text.count - at) else { break }
        at = UnsafeRawPointer(newline) - text.baseAddress! + 1
      }
      return counters
    }

    /// Adds a line `Name:   123 kB` to a counter if it is the one of that name.
    @inline(__always)
    private static func take(
      _ text: UnsafeRawBufferPointer, _ at: Int, _ name: StaticString, adding counter: inout Int64
    ) {
      let length = name.utf8CodeUnitCount
      if at + length >= text.count || memcmp(text.baseAddress! + at, name.utf8Start, length) != 0 { return }
      var place = at + length
      var kilobytes: Int64 = 0
      while place < text.count, text[place] == 0x20 || text[place] == 0x09 { place += 1 }
      while place < text.count, text[place] >= 0x30, text[place] <= 0x39 {
        kilobytes = kilobytes &* 10 &+ Int64(text[place] &- 0x30)
        place += 1
      }
      counter &+= kilobytes &* 1024
    }
  }
#endif
