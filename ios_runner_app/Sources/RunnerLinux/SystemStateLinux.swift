import RunnerCore

/// What a virtual phone tells its apps about itself: thermal state and Low Power Mode, from a file that it rewrites.
///
/// On a real phone these come from `ProcessInfo`. The file, named by `VIRTUAL_SYSTEM_STATE`, is replaced as a whole:
/// `{"thermal": 0..3, "low_power": false, "battery_percent": 87}`.
final class SystemStateLinux: Sendable {
  static let variable = "VIRTUAL_SYSTEM_STATE"
  private static let maxBytes = 4096

  private struct State {
    var file: FileIdentity?
    var told: PhoneCondition
    /// Without values when the file cannot be read any more.
    var now: PhoneCondition
  }

  /// What samples show; nil when it is not known any more.
  let thermal: Gauge
  private let path: String
  private let state: Monitor<State>

  /// Throws when the file is missing or not of the form above.
  init(path: String) throws(SetupError) {
    self.path = path
    let values = try Self.read(path)
    thermal = Gauge(values.thermal)
    state = Monitor(State(file: try? Files.identity(path), told: values, now: values))
  }

  /// Reads the file if it was replaced, and tells what is different. When it cannot be read any more the values are not
  /// known any more: nil, and no change.
  func refresh(_ tell: (_ kind: String, _ text: String) -> Void) {
    let file = try? Files.identity(path)
    let changes = state.withLock { state -> (old: PhoneCondition, new: PhoneCondition)? in
      if let file, file == state.file { return nil }
      guard let values = try? Self.read(path) else {
        thermal.value = nil
        (state.file, state.now) = (nil, PhoneCondition())
        return nil
      }
      defer { (state.file, state.told, state.now) = (file, values, values) }
      thermal.value = values.thermal
      return (state.told, values)
    }
    guard let (old, new) = changes else { return }
    if new.thermal != old.thermal, let thermal = new.thermal {
      tell("thermal", PhoneCondition.thermalNames[Int(thermal)])
    }
    if new.lowPower != old.lowPower { tell("low_power", new.lowPower == true ? "on" : "off") }
  }

  /// As last read.
  var condition: PhoneCondition { state.withLock { $0.now } }

  private static func read(_ path: String) throws(SetupError) -> PhoneCondition {
    guard let bytes = Files.read(path, limit: maxBytes), let state = try? JSONParser.parse(bytes) else {
      throw SetupError("\(variable): \(path) cannot be read as JSON")
    }
    guard case .integer(let thermal) = state["thermal"], PhoneCondition.thermalNames.indices.contains(Int(thermal))
    else {
      let given = (state["thermal"] ?? .null).shown
      throw SetupError("\(variable): thermal must be 0 to \(PhoneCondition.thermalNames.count - 1), got \(given)")
    }
    guard case .bool(let lowPower) = state["low_power"] else {
      throw SetupError("\(variable): low_power must be true or false, got \((state["low_power"] ?? .null).shown)")
    }
    return PhoneCondition(thermal: thermal, lowPower: lowPower)
  }
}
