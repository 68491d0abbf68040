import RunnerCore

/// What a virtual phone tells its apps about itself: thermal state and Low Power Mode, from a file that it rewrites.
///
/// On a real phone these come from `ProcessInfo`. The file, named by `VIRTUAL_SYSTEM_STATE`, is replaced as a whole:
/// `{"thermal": 0..3, "low_power": false, "battery_percent": 87}`.
final class SystemStateLinux: Sendable {
  static let variable = "VIRTUAL_SYSTEM_STATE"
  private static let maxBytes = 4096
  /// By number, as `ProcessInfo.ThermalState` counts them.
  private static let thermalNames = ["nominal", "fair", "serious", "critical"]

  private struct Values: Equatable {
    var thermal: Int64
    var lowPower: Bool
  }

  private struct State {
    var file: FileIdentity?
    var told: Values
  }

  /// nil when it is not known any more.
  let thermal: Gauge
  private let path: String
  private let state: Monitor<State>

  /// Throws when the file is missing or not of the form above.
  init(path: String) throws(SetupError) {
    self.path = path
    let values = try Self.read(path)
    thermal = Gauge(values.thermal)
    state = Monitor(State(file: try? Files.identity(path), told: values))
  }

  /// Reads the file if it was replaced, and tells what is different. When it cannot be read any more the values are not
  /// known any more: nil, and no change.
  func refresh(_ tell: (_ kind: String, _ text: String) -> Void) {
    let file = try? Files.identity(path)
    let changes = state.withLock { state -> (old: Values, new: Values)? in
      if let file, file == state.file { return nil }
      guard let values = try? Self.read(path) else {
        thermal.value = nil
        state.file = nil
        return nil
      }
      defer { (state.file, state.told) = (file, values) }
      thermal.value = values.thermal
      return (state.told, values)
    }
    guard let (old, new) = changes else { return }
    if new.thermal != old.thermal { tell("thermal", Self.thermalNames[Int(new.thermal)]) }
    if new.lowPower != old.lowPower { tell("low_power", new.lowPower ? "on" : "off") }
  }

  private static func read(_ path: String) throws(SetupError) -> Values {
    guard let bytes = Files.read(path, limit: maxBytes), let state = try? JSONParser.parse(bytes) else {
      throw SetupError("\(variable): \(path) cannot be read as JSON")
    }
    guard case .integer(let thermal) = state["thermal"], thermalNames.indices.contains(Int(thermal)) else {
      let given = (state["thermal"] ?? .null).shown
      throw SetupError("\(variable): thermal must be 0 to \(thermalNames.count - 1), got \(given)")
    }
    guard case .bool(let lowPower) = state["low_power"] else {
      throw SetupError("\(variable): low_power must be true or false, got \((state["low_power"] ?? .null).shown)")
    }
    return Values(thermal: thermal, lowPower: lowPower)
  }
}
