import RunnerEngines
import Testing

/// What proves which device executes.
@Suite struct BackendEvidenceTests {
  private static let model: Int64 = 1 << 30
  private static let cpuLine = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"

  private func evidence(grown: Int64?, log: String = "", caches: [String] = []) -> BackendEvidence {
    var evidence = BackendEvidence(modelBytes: Self.model)
    evidence.metalBefore = 5_000_000
    evidence.metalAfter = grown.map { 5_000_000 + $0 }
    evidence.log = log
    evidence.cpuCaches = caches
    return evidence
  }

  @Test func weightsInMetalsMemoryAreTheGPU() {
    let verdict = evidence(grown: Self.model / 2, log: Self.cpuLine).verdict
    #expect(verdict.name == "gpu")
    #expect(verdict.how.contains("\(Self.model / 2) bytes"))
  }

  @Test(arguments: [(cpuLine, []), ("", ["m.task.xnnpack_cache"])])
  func noneThereAndATraceOfTheCPU(log: String, caches: [String]) {
    let verdict = evidence(grown: 0, log: log, caches: caches).verdict
    #expect(verdict.name == "cpu")
    #expect(verdict.how.contains(log.isEmpty ? "xnnpack_cache" : "XNNPACK delegate"))
  }

  @Test(arguments: [(Self.model / 10, cpuLine), (0, ""), (-1_000_000, "")])
  func anythingElseProvesNothing(grown: Int64, log: String) {
    let verdict = evidence(grown: grown, log: log).verdict
    #expect(verdict.name == nil)
    #expect(verdict.how.contains("grew by \(grown) bytes"))
  }

  @Test func withoutMetalsFigureNothingIsProved() {
    #expect(evidence(grown: nil, log: Self.cpuLine).verdict.name == nil)
  }
}
