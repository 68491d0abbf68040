/// A load that stops before the kernel stops it: when less than a reserve is left below the footprint limit.
///
/// What it can interrupt: the steps that come in chunks (pre-warming, the floors, an emulated GPU's upload) look between
/// two chunks. A call into an engine cannot be interrupted from outside, so while one runs a thread of the guard's own
/// looks, and the only thing it can do is to end the process, after the reason has been written and sent.
struct MemoryGuard: Sendable {
  /// How often the guard's own thread looks. Bulk allocation takes some 5 MB a millisecond.
  static let hz = 1000
  /// The exit code of a process that the guard ended inside an engine's call (sysexits' EX_TEMPFAIL).
  static let exitCode: Int32 = 75
  /// How long the reason may take to be sent: the engine goes on allocating meanwhile, and the journal has it anyway.
  static let sendNs: Int64 = 100_000_000

  let reserveBytes: Int64
  let memory: any MemoryProducer

  /// Why the load must stop now; nil while there is room.
  func reason() -> String? {
    let reading = memory.read()
    guard let footprint = reading.footprint, let limit = reading.limit, footprint >= limit - reserveBytes else {
      return nil
    }
    return "memory guard: the footprint of \(footprint) bytes has come within \(reserveBytes) bytes of the limit of "
      + "\(limit) bytes"
  }

  /// A guard needs a limit to watch.
  static func refuse(_ job: Job, _ memory: any MemoryProducer) throws(Refusal) {
    if job.guardReserveBytes != nil && memory.read().limit == nil {
      throw Refusal(.badJob, "guard: this phone does not tell the app its memory limit")
    }
  }
}
