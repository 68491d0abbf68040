#if canImport(Darwin)
  @preconcurrency import Darwin
  import Metal

  #if os(iOS)
    import os
  #endif

  /// What this process costs, read from Mach and Metal. The only file that knows task_info's counters.
  ///
  /// The kernel may be older than the SDK the app was built with: it then fills in less of the struct than there is, and
  /// says how much. A field it did not fill in is nil, not 0.
  public final class MemoryDarwin: MemoryProducer, @unchecked Sendable {
    // @unchecked: Metal's devices may be used from any thread, but not every SDK says so in Swift's words.
    /// Kept for the app's life: each call that makes one costs, and the figure belongs to the device object.
    private let gpu: (any MTLDevice)?
    private let thermal: Gauge?
    private let ends = FieldEnds()

    /// `thermal`: where somebody keeps the thermal state; asking for it is not meant for 1 kHz.
    public init(thermal: Gauge?) {
      gpu = MTLCreateSystemDefaultDevice()
      self.thermal = thermal
    }

    public func read() -> MemoryReading {
      var reading = MemoryReading()
      if let task = TaskVM.read() {
        reading.footprint = task.value(ends.footprint, task.info.phys_footprint)
        reading.resident = task.value(ends.resident, task.info.resident_size)
        reading.virtual = task.value(ends.virtual, task.info.virtual_size)
        reading.compressed = task.value(ends.compressed, task.info.compressed)
        reading.darwin.graphics = task.value(ends.graphics, task.info.ledger_tag_graphics_footprint).map { max(0, $0) }
        reading.darwin.internal = task.value(ends.internal, task.info.internal)
        reading.darwin.external = task.value(ends.external, task.info.external)
        reading.darwin.decompressions = task.value(ends.decompressions, task.info.decompressions)
        reading.darwin.swapins = task.value(ends.swapins, task.info.ledger_swapins)
        #if os(iOS)
          // Both are the kernel's "limit minus footprint", 0 when the footprint is over the limit.
          reading.available =
            task.value(ends.limitRemaining, task.info.limit_bytes_remaining)
            ?? Int64(clamping: os_proc_available_memory())
        #endif
      }
      if let events = Self.events() {
        reading.pageins = Self.count(events.pageins)
        reading.faults = Self.count(events.faults)
        reading.darwin.cowFaults = Self.count(events.cow_faults)
      }
      reading.metal = (gpu?.currentAllocatedSize).map { Int64($0) }
      reading.cpuNs = processCPUNs()
      reading.thermal = thermal?.value
      return reading
    }

    public func peaks() -> KernelPeaks {
      guard let task = TaskVM.read() else { return KernelPeaks() }
      return KernelPeaks(
        footprint: task.value(ends.footprintPeak, task.info.ledger_phys_footprint_peak),
        resident: task.value(ends.residentPeak, task.info.resident_size_peak))
    }

    private static func events() -> task_events_info_data_t? {
      var info = task_events_info_data_t()
      let filled = ask(TASK_EVENTS_INFO, into: &info)
      return filled == MemoryLayout<task_events_info_data_t>.size ? info : nil
    }

    /// The kernel counts in 32 unsigned bits and calls them signed.
    private static func count(_ value: integer_t) -> Int64 { Int64(UInt32(bitPattern: value)) }
  }

  /// The counters that only Darwin has, columns behind the common ones. Bytes, or counts since the process began.
  public struct DarwinCounters: Equatable, Sendable {
    /// What the kernel's ledger charges the footprint with as graphics.
    public var graphics: Int64?
    /// Anonymous memory.
    public var `internal`: Int64?
    /// File-backed memory.
    public var external: Int64?
    public var decompressions: Int64?
    public var swapins: Int64?
    public var cowFaults: Int64?

    static let columns = ["graphics", "internal", "external", "decompressions", "swapins", "cow_faults"]

    /// The values in the order of `columns`.
    @inline(__always)
    func encode(into encoder: EventEncoder) {
      encoder.item(graphics)
      encoder.item(`internal`)
      encoder.item(external)
      encoder.item(decompressions)
      encoder.item(swapins)
      encoder.item(cowFaults)
    }
  }

  /// One answer of `task_info(TASK_VM_INFO)`, and how much of it the kernel filled in.
  private struct TaskVM {
    let info: task_vm_info_data_t
    let filledBytes: Int

    static func read() -> TaskVM? {
      var info = task_vm_info_data_t()
      guard let filled = ask(TASK_VM_INFO, into: &info) else { return nil }
      return TaskVM(info: info, filledBytes: filled)
    }

    /// A field's value; nil when the answer does not reach to its end.
    @inline(__always)
    func value(_ end: Int, _ field: some BinaryInteger) -> Int64? {
      end <= filledBytes ? Int64(clamping: field) : nil
    }
  }

  /// Where the fields of task_vm_info end, bytes. Worked out once: key paths ask for memory.
  private struct FieldEnds: Sendable {
    let virtual = Self.end(of: \.virtual_size)
    let resident = Self.end(of: \.resident_size)
    let residentPeak = Self.end(of: \.resident_size_peak)
    let `internal` = Self.end(of: \.internal)
    let external = Self.end(of: \.external)
    let compressed = Self.end(of: \.compressed)
    let footprint = Self.end(of: \.phys_footprint)
    let footprintPeak = Self.end(of: \.ledger_phys_footprint_peak)
    let graphics = Self.end(of: \.ledger_tag_graphics_footprint)
    let limitRemaining = Self.end(of: \.limit_bytes_remaining)
    let decompressions = Self.end(of: \.decompressions)
    let swapins = Self.end(of: \.ledger_swapins)

    /// A field that has no place in memory would never be read.
    private static func end<Value>(of field: KeyPath<task_vm_info_data_t, Value>) -> Int {
      MemoryLayout<task_vm_info_data_t>.offset(of: field).map { $0 + MemoryLayout<Value>.size } ?? .max
    }
  }

  /// Asks the kernel about this process; the bytes of `info` that it filled in, nil when it said no.
  private func ask<Info>(_ flavor: Int32, into info: inout Info) -> Int? {
    let word = MemoryLayout<integer_t>.size
    var count = mach_msg_type_number_t(MemoryLayout<Info>.size / word)
    let room = Int(count)
    let answer = withUnsafeMutablePointer(to: &info) { pointer in
      pointer.withMemoryRebound(to: integer_t.self, capacity: room) {
        task_info(mach_task_self_, task_flavor_t(flavor), $0, &count)
      }
    }
    return answer == KERN_SUCCESS ? Int(count) * word : nil
  }
#endif
