// What one event costs to encode, and what a thread costs that only wakes at 1 kHz: for tests/benchmarks/bench_runner.py.
// Not part of the app.

import Glibc
import RunnerCore

let rounds = 200_000

/// The cheapest of several rounds: what the machine does beside is not the encoder's.
func nanosecondsAnEvent(_ encode: (Int64) -> Void) -> Double {
  var best = Double.infinity
  for _ in 0..<7 {
    let begun = monotonicNs()
    for seq in 0..<Int64(rounds) { encode(seq) }
    best = min(best, Double(monotonicNs() - begun) / Double(rounds))
  }
  return best
}

let encoder = EventEncoder()
var reading = MemoryReading()
reading.footprint = 459_771_904
reading.resident = 1_706_033_152
reading.virtual = 412_316_860_416
reading.available = 3_080_105_984
reading.pageins = 7733
reading.faults = 181_220
reading.cpuNs = 6_123_004_511
reading.thermal = 1
var encodedBytes = 0

let sample = nanosecondsAnEvent { seq in
  encoder.begin("sample", seq: seq, tNs: 81_234_012_000_444)
  encoder.array("d") { reading.encode(into: $0) }
  encoder.end()
  encodedBytes &+= encoder.bytes.count
}
let phase = nanosecondsAnEvent { seq in
  encoder.begin("phase", seq: seq, tNs: 81_234_012_000_444)
  encoder.field("name", "create_engine")
  encoder.field("edge", "begin")
  encoder.field("detail", String?.none)
  encoder.end()
  encodedBytes &+= encoder.bytes.count
}

/// Share of a core that the wake-ups alone take on this machine at this moment, and how late 99 % of them are at most.
func emptyLoop(seconds: Int64) -> (percent: Double, lateP99Us: Double) {
  var late: [Int64] = []
  late.reserveCapacity(Int(seconds) * 1000)
  let begunNs = monotonicNs()
  let cpuNs = processCPUNs()
  for wakeup in 1...(seconds * 1000) {
    let deadlineNs = begunNs + wakeup * 1_000_000
    sleepUntil(deadlineNs)
    late.append(monotonicNs() - deadlineNs)
  }
  let percent = 100 * Double(processCPUNs() - cpuNs) / Double(monotonicNs() - begunNs)
  return (percent, Double(late.sorted()[late.count * 99 / 100]) / 1000)
}

let empty = emptyLoop(seconds: 5)
let wakeups = "\"empty_loop_percent\":\(empty.percent),\"empty_late_p99_us\":\(empty.lateP99Us)"
print("{\"sample_ns\":\(sample),\"phase_ns\":\(phase),\(wakeups),\"bytes\":\(encodedBytes)}")
