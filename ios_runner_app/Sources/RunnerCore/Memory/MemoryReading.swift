/// One reading of this process, as a plain row. nil: the platform has no such figure. Nothing is added up here: bytes
/// that two counters both hold would count twice.
public struct MemoryReading: Equatable, Sendable {
  /// What the system charges the process with; the limit is on this.
  public var footprint: Int64?
  public var resident: Int64?
  public var virtual: Int64?
  /// Left below the limit.
  public var available: Int64?
  /// What the graphics driver says it holds for this process.
  public var metal: Int64?
  public var compressed: Int64?
  /// Counts since the process began.
  public var pageins: Int64?
  public var faults: Int64?
  public var cpuNs: Int64?
  /// 0 nominal … 3 critical.
  public var thermal: Int64?
  #if canImport(Darwin)
    public var darwin = DarwinCounters()
  #endif

  public init() {}

  /// The wire's `sample_columns`: the common ones, then those that only this platform has.
  public static let columns = commonColumns + platformColumns

  private static let commonColumns = [
    "footprint", "resident", "virtual", "available", "metal", "compressed", "pageins", "faults", "cpu_ns", "thermal",
  ]

  #if canImport(Darwin)
    private static let platformColumns = DarwinCounters.columns
  #else
    private static let platformColumns: [String] = []
  #endif

  /// The limit on the footprint as far as it can be told.
  public var limit: Int64? {
    guard let footprint, let available else { return nil }
    return footprint + available
  }

  /// The values in the order of `columns`.
  @inline(__always)
  package func encode(into encoder: EventEncoder) {
    encoder.item(footprint)
    encoder.item(resident)
    encoder.item(virtual)
    encoder.item(available)
    encoder.item(metal)
    encoder.item(compressed)
    encoder.item(pageins)
    encoder.item(faults)
    encoder.item(cpuNs)
    encoder.item(thermal)
    #if canImport(Darwin)
      darwin.encode(into: encoder)
    #endif
  }
}

/// The kernel's own high-water marks of this process, bytes: no spike between two samples is lost in them.
public struct KernelPeaks: Equatable, Sendable {
  public var footprint: Int64?
  public var resident: Int64?
  public var virtual: Int64?

  public init(footprint: Int64? = nil, resident: Int64? = nil, virtual: Int64? = nil) {
    self.footprint = footprint
    self.resident = resident
    self.virtual = virtual
  }
}

/// Takes readings of this process; one for each platform (MemoryLinux.swift, MemoryDarwin.swift). Called from several
/// threads, and at 1 kHz: it must not ask for memory.
public protocol MemoryProducer: Sendable {
  func read() -> MemoryReading
  func peaks() -> KernelPeaks
}

/// A number that one thread sets and others read: what an engine holds as graphics memory, a thermal state.
public final class Gauge: Sendable {
  private let state: Monitor<Int64?>

  public init(_ value: Int64? = nil) {
    state = Monitor(value)
  }

  public var value: Int64? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
