import Testing

@testable import RunnerCore

@Suite struct LifecycleTests {
  @Test func nothingLeadsOutOfFinished() {
    for step in Lifecycle.Step.allCases {
      if case .go(let next) = Lifecycle.finished.move(step) { #expect(next == .finished) }
    }
  }

  @Test func anyWayThroughTheTableBeginsOneTrialAtMost() {
    var dice = Dice(7)
    for _ in 0..<500 {
      var state = Lifecycle.idle
      var begun = 0
      for _ in 0..<20 {
        let step = Lifecycle.Step.allCases.randomElement(using: &dice)!
        guard case .go(let next) = state.move(step) else { continue }
        if next == .running && state != .running { begun += 1 }
        state = next
      }
      #expect(begun <= 1)
    }
  }

  @Test func onlyAnAppThatWasAskedForATrialEndsAtBye() {
    #expect(Lifecycle.idle.move(.bye) == .go(.idle))
    #expect(Lifecycle.running.move(.bye) == .go(.running))
    #expect(Lifecycle.refused.move(.bye) == .end)
    #expect(Lifecycle.finished.move(.bye) == .end)
  }

  @Test func refusalsHaveTheirKinds() {
    #expect(Lifecycle.running.move(.run) == .refuse(.busy))
    #expect(Lifecycle.finished.move(.run) == .refuse(.alreadyRun))
    #expect(Lifecycle.idle.move(.cancel) == .refuse(.nothingRunning))
  }
}

@Suite struct TrialStateTests {
  @Test func theLoadIsTheSumOfItsPhasesWithoutTheWarmUp() {
    var state = TrialState()
    #expect(state.loadNs == nil)
    state.durationsNs = [(.verify, 1), (.warmup, 1000), (.createEngine, 20), (.createSession, 3), (.prefill, 7)]
    #expect(state.loadNs == 23)
    #expect(state.durationNs(.prefill) == 7 && state.durationNs(.decode) == 0)
  }

  @Test func phasesOfOneNameAreAddedUp() {
    var state = TrialState()
    for ns in [20, 5, 6] as [Int64] { state.ended(ns == 20 ? .createEngine : .copy, ns: ns) }
    #expect(state.durationsNs.map(\.name) == [.createEngine, .copy])
    #expect(state.durationNs(.copy) == 11)
    #expect(state.loadNs == 20, "the first copy's")
  }

  @Test func tokensAreToldTwentyTimesASecondAtMost() {
    var state = TrialState()
    let second = nanosecondsPerSecond
    let told = (1...1000).filter { state.tells(pieces: $0, nowNs: second + Int64($0) * second / 1000) }
    #expect((19...21).contains(told.count))
    _ = state.tells(pieces: 1000, nowNs: 3 * second)
    let again = state.tells(pieces: 1000, nowNs: 4 * second)
    #expect(!again, "nothing new")
  }
}

@Suite struct LatenessTests {
  @Test func percentilesAreUpperEdgesOfTheirSteps() {
    let lateness = Lateness()
    for late in 1...100 { lateness.count(Int64(late) * 10_000 - 1) }
    #expect(lateness.stats.lateP50Ns == 500_000)
    #expect(lateness.stats.lateP99Ns == 990_000)
    #expect(lateness.stats.lateMaxNs == 999_999)
    #expect(lateness.stats.samples == 100)
  }

  @Test func withoutSamplesThereIsNoLateness() {
    #expect(Lateness().stats == SamplerStats())
  }

  @Test func theLastStepHoldsTheRest() {
    let lateness = Lateness()
    lateness.count(5 * nanosecondsPerSecond)
    #expect(lateness.stats.lateMaxNs == 5 * nanosecondsPerSecond)
    #expect(lateness.stats.lateP99Ns == 100_000_000)
  }
}
