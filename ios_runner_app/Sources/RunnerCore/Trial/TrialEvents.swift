// What goes out of a trial.

extension Trial {
  func sample(_ nowNs: Int64, _ periodNs: Int64) {
    let reading = memory.read()
    if let footprint = reading.footprint {
      state.withLock { $0.peakFootprint = max($0.peakFootprint ?? footprint, footprint) }
    }
    events.sample(reading, tNs: nowNs, periodNs: periodNs)
  }

  func fail(_ failure: TrialFailed, in phase: PhaseName?) {
    if claimAnswer() { sayError(failure, in: phase) }
  }

  func sayError(_ failure: TrialFailed, in phase: PhaseName?) {
    events.emit("error") { event in
      event.field("kind", failure.kind.rawValue)
      event.field("message", bounded(failure.message))
      event.field("phase", phase?.rawValue)
      event.field("trial", name)
    }
  }

  func result(_ generation: Generation, _ stats: SamplerStats, baseline: Int64?, leftover: Int64?, cancelled: Bool) {
    if !claimAnswer() { return }
    let state = self.state.withLock { $0 }
    let peaks = memory.peaks()
    let generated = (generation.outputChunks ?? 0) > 0
    events.emit("result") { event in
      event.field("trial", name)
      event.field("cancelled", cancelled)
      event.object("durations_ns") { durations in
        for (phase, ns) in state.durationsNs { durations.field(named: phase.rawValue, .integer(ns)) }
      }
      event.field("load_ns", state.loadNs)
      event.field("ttft_ns", generated ? state.durationNs(.prefill) + state.durationNs(.firstToken) : nil)
      event.field("prefill_tokens", generation.prefillTokens)
      event.field("prefill_tps", generation.prefillTps)
      event.field("decode_tokens", generation.decodeTokens)
      event.field("decode_tps", generation.decodeTps)
      event.field("output_sha256", generation.outputSHA256)
      event.field("output_bytes", generation.outputBytes)
      event.field("output_chunks", generation.outputChunks)
      event.kernelPeaks(peaks)
      event.field("peak_footprint", state.peakFootprint)
      event.field("baseline_footprint", baseline)
      event.field("leftover_footprint", leftover)
      event.object("sampler") { sampler in
        sampler.field("samples", stats.samples)
        sampler.field("missed", stats.missed)
        sampler.field("late_p50_ns", stats.lateP50Ns)
        sampler.field("late_p99_ns", stats.lateP99Ns)
        sampler.field("late_max_ns", stats.lateMaxNs)
      }
    }
  }
}

extension EventEncoder {
  func kernelPeaks(_ peaks: KernelPeaks) {
    field("kernel_peak_footprint", peaks.footprint)
    field("kernel_peak_resident", peaks.resident)
    field("kernel_peak_virtual", peaks.virtual)
  }
}
