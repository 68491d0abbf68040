#if os(Linux)
  import RunnerCore

  /// A GPU that is none: for a virtual phone that says `VIRTUAL_GPU=emulated`, and for nothing else.
  ///
  /// The engine runs on the CPU; the weights are also held in memory of their own, as the buffers of a GPU would hold
  /// them, so that what an app on the GPU costs can be seen. That memory is real: it counts towards the footprint.
  public final class EmulatedGPU: WeightUpload {
    public static let variable = "VIRTUAL_GPU"
    /// The effective backend's name; the host knows it and marks such trials everywhere.
    static let effectiveBackend = "cpu (gpu emulated)"

    /// What counts as graphics memory now; grows while weights are uploaded.
    public let allocated = Gauge(0)
    private let memory = Monitor<AnonymousFile?>(nil)

    /// The GPU the phone offers; nil without one. Throws for a word that is not known.
    public static func offered(_ word: String?) throws(SetupError) -> EmulatedGPU? {
      switch word {
      case nil: return nil
      case "emulated": return EmulatedGPU()
      case .some(let other):
        throw SetupError("\(variable) must be 'emulated' or not set, got '\(other)'")
      }
    }

    /// Holds the model's bytes. Throws `EngineError` and what `check` throws.
    public func upload(_ model: String, on stage: any Stage) throws {
      do {
        let held = try AnonymousFile(model, on: stage) { allocated.value = Int64($0) }
        memory.withLock { $0 = held }
      } catch {
        release()
        if let error = error as? SystemError {
          throw EngineError(.loadError, "emulated GPU: upload of \(Files.name(of: model)): \(error)")
        }
        throw error
      }
    }

    /// Gives the memory back. Allowed twice.
    public func release() {
      memory.withLock { $0 = nil }
      allocated.value = 0
    }

    /// What the trial is told about the device that executed.
    public var effective: EffectiveBackend {
      EffectiveBackend(
        Self.effectiveBackend,
        how: "no GPU executed anything: this phone only emulates one. The engine ran on the CPU, and "
          + "\(allocated.value ?? 0) bytes of weights were also held as graphics memory")
    }
  }
#endif
