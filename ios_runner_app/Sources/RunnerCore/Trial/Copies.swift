/// As many engines of one file as the job asks for, as one, all kept loaded.
///
/// The first loads as any engine does; each further one is a phase `copy` whose steps are not told, so that the first
/// one's load time can be compared with that of a single engine.
final class Copies: Engine {
  private let kind: EngineKind
  private let laterRequest: EngineRequest
  private let count: Int
  /// The stage of the copies after the first.
  private let silent: any Stage
  private var engines: [any Engine]

  init(_ kind: EngineKind, _ request: EngineRequest, silent: any Stage) {
    self.kind = kind
    self.silent = silent
    count = request.job.copies
    // What a cold first copy has built is there for the others, as in an app that opens a model twice.
    let laterCache = request.job.cache == .cold ? .warm : request.job.cache
    laterRequest = EngineRequest(job: request.job.with(cache: laterCache), model: request.model, home: request.home)
    engines = [kind.make(request)]
  }

  /// What a job is done with: one engine, or as many copies as it asks for.
  static func engine(_ kind: EngineKind, _ request: EngineRequest, silent: any Stage) -> any Engine {
    request.job.copies == 1 ? kind.make(request) : Copies(kind, request, silent: silent)
  }

  /// Throws what the engines throw; the words name the copy unless it is the first.
  func load(on stage: any Stage) throws {
    try engines[0].load(on: stage)
    for number in stride(from: 2, through: count, by: 1) {
      try stage.check()
      try stage.phase(.copy) { phase in
        let place = "copy \(number) of \(count)"
        phase.detail = place
        let engine = kind.make(laterRequest)
        engines.append(engine)
        do {
          try engine.load(on: silent)
        } catch let error as EngineError {
          throw EngineError(error.kind, "\(place): \(error.message)")
        }
      }
    }
  }

  /// The last copy's, which is the one that generates.
  func effectiveBackend() -> EffectiveBackend { engines[engines.count - 1].effectiveBackend() }

  func generate(on stage: any Stage) throws -> Generation? { try engines[engines.count - 1].generate(on: stage) }

  /// The last first.
  func unload() {
    for engine in engines.reversed() { engine.unload() }
  }
}
