import RunnerCore

/// What was seen while an engine that does not say on which device it executes brought a model in.
///
/// What was asked for proves nothing: there are reports of engines that take the CPU silently when the GPU fails. The
/// weights have to be somewhere, though, and Metal says how much memory it holds for this process.
public struct BackendEvidence: Sendable {
  /// On the GPU at least this share of the model file must have become Metal's memory …
  static let leastShareOnGPU: Int64 = 4
  /// … and on the CPU at most this share: a delegate that is made and not used allocates a little.
  static let mostShareOnCPU: Int64 = 64
  /// What TensorFlow Lite writes to stderr when its CPU kernels take a graph.
  static let cpuLogLine = "Created TensorFlow Lite XNNPACK delegate for CPU"

  public var modelBytes: Int64
  /// Metal's memory of this process, bytes; nil where it is not known.
  public var metalBefore: Int64?
  public var metalAfter: Int64?
  /// Names of the weight caches of the CPU engine that were there after the load.
  public var cpuCaches: [String] = []
  /// What the engine wrote to stderr during the load.
  public var log = ""

  public init(modelBytes: Int64) {
    self.modelBytes = modelBytes
  }

  /// The device that executes, as far as this proves one.
  public var verdict: EffectiveBackend {
    guard let metalBefore, let metalAfter else {
      return EffectiveBackend(nil, how: "Metal's allocation is not known")
    }
    let grown = metalAfter - metalBefore
    let seen = "Metal's allocation grew by \(grown) bytes while a model of \(modelBytes) bytes was loaded"
    if grown >= modelBytes / Self.leastShareOnGPU {
      return EffectiveBackend("gpu", how: seen)
    }
    let cpuSigns = self.cpuSigns
    if grown <= modelBytes / Self.mostShareOnCPU && !cpuSigns.isEmpty {
      return EffectiveBackend("cpu", how: ([seen] + cpuSigns).joined(separator: "; "))
    }
    let missing = cpuSigns.isEmpty ? ["nothing else was seen of the device"] : cpuSigns
    return EffectiveBackend(nil, how: ([seen + ", which proves neither device"] + missing).joined(separator: "; "))
  }

  /// Signs that the CPU's kernels took at least a part of the model; alone they prove nothing about the rest.
  private var cpuSigns: [String] {
    var signs: [String] = []
    if log.contains(Self.cpuLogLine) { signs.append("the log says '\(Self.cpuLogLine)'") }
    if !cpuCaches.isEmpty { signs.append("the CPU's weight cache \(cpuCaches.joined(separator: ", ")) is in use") }
    return signs
  }
}
