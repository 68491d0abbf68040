/// How the sampling went. Lateness is against the deadlines, ns; nil without samples.
public struct SamplerStats: Equatable, Sendable {
  public var samples: Int64 = 0
  public var missed: Int64 = 0
  public var lateP50Ns: Int64?
  public var lateP99Ns: Int64?
  public var lateMaxNs: Int64?
}

/// The sampler: one thread, absolute deadlines, honest about how late it was.
public final class Sampler: Sendable {
  /// A slow sampler still notices within this time that it shall stop.
  static let longestSleepNs: Int64 = 20_000_000

  private struct State {
    var stop = false
    var result: SamplerStats?
  }

  private let state = Monitor(State())

  /// Begins to call `tick(nowNs, periodNs)` `hz` times a second; the first call is due at once.
  public init(
    hz: Int, name: String = "sampler", tick: @escaping @Sendable (_ nowNs: Int64, _ periodNs: Int64) -> Void
  ) throws(SystemError) {
    let periodNs = nanosecondsPerSecond / Int64(hz)
    let state = self.state
    try startThread(name) {
      let stats = Self.run(state, periodNs, tick)
      state.change { $0.result = stats }
    }
  }

  /// Ends, and tells how it went. Allowed twice.
  public func stop() -> SamplerStats {
    state.withLock { $0.stop = true }
    while true {
      if let stats = state.wait(timeoutNs: nanosecondsPerSecond, { $0.result }) { return stats }
    }
  }

  private static func run(
    _ state: Monitor<State>, _ periodNs: Int64, _ tick: (Int64, Int64) -> Void
  ) -> SamplerStats {
    let lateness = Lateness()
    var deadlineNs = monotonicNs()
    while !state.withLock({ $0.stop }) {
      let nowNs = monotonicNs()
      if nowNs < deadlineNs {
        sleepUntil(min(deadlineNs, nowNs + longestSleepNs))
        continue
      }
      tick(nowNs, periodNs)
      lateness.count(nowNs - deadlineNs)
      deadlineNs += periodNs
      let behind = (monotonicNs() - deadlineNs) / periodNs
      if behind > 0 {
        lateness.missed += behind
        deadlineNs += behind * periodNs
      }
    }
    return lateness.stats
  }
}

/// Counts lateness in steps of 10 µs up to 100 ms; the last step holds the rest.
final class Lateness {
  static let stepNs: Int64 = 10_000
  static let steps = 10_000

  var missed: Int64 = 0
  private var samples: Int64 = 0
  private var maxNs: Int64 = 0
  private var counts = [Int64](repeating: 0, count: Lateness.steps)

  func count(_ lateNs: Int64) {
    samples += 1
    counts[min(Int(lateNs / Self.stepNs), Self.steps - 1)] += 1
    maxNs = max(maxNs, lateNs)
  }

  var stats: SamplerStats {
    SamplerStats(
      samples: samples, missed: missed, lateP50Ns: percentile(50), lateP99Ns: percentile(99),
      lateMaxNs: samples > 0 ? maxNs : nil)
  }

  /// The upper edge of the step that holds the percentile.
  private func percentile(_ percent: Int64) -> Int64? {
    var seen: Int64 = 0
    for (step, count) in counts.enumerated() {
      seen += count
      if count > 0 && seen * 100 >= samples * percent {
        return min((Int64(step) + 1) * Self.stepNs, maxNs)
      }
    }
    return nil
  }
}
