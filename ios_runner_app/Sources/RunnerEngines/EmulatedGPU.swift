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
    /// Bytes of finished uploads that are still held.
    private let heldBytes = Monitor<Int64>(0)

    /// The GPU the phone offers; nil without one. Throws for a word that is not known.
    public static func offered(_ word: String?) throws(SetupError) -> EmulatedGPU? {
      switch word {
      case nil: return nil
      case "emulated": return EmulatedGPU()
      case .some(let other):
        throw SetupError("\(variable) must be 'emulated' or not set, got '\(other)'")
      }
    }

    /// Holds the model's bytes for as long as what is returned lives. Throws `EngineError` and what `check` throws.
    public func upload(_ model: String, on stage: any Stage) throws -> AnyObject {
      let before = heldBytes.withLock { $0 }
      do {
        let file = try AnonymousFile(model, on: stage) { allocated.value = before + Int64($0) }
        hold(Int64(file.size))
        return Upload(file, gpu: self)
      } catch {
        allocated.value = before
        if let error = error as? SystemError {
          throw EngineError(.loadError, "emulated GPU: upload of \(Files.name(of: model)): \(error)")
        }
        throw error
      }
    }

    /// One engine's weights; given back when it goes.
    private final class Upload {
      private let file: AnonymousFile
      private let gpu: EmulatedGPU

      init(_ file: AnonymousFile, gpu: EmulatedGPU) {
        (self.file, self.gpu) = (file, gpu)
      }

      deinit { gpu.hold(-Int64(file.size)) }
    }

    private func hold(_ bytes: Int64) {
      allocated.value = heldBytes.withLock { held in
        held += bytes
        return held
      }
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
