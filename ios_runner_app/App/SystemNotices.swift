import Dispatch
import RunnerCore
import UIKit

/// What iOS tells the app unasked, in the wire's words: memory warnings and pressure, thermal state, Low Power Mode.
final class SystemNotices {
  typealias Tell = @Sendable (_ kind: String, _ text: String?) -> Void

  private let observers: [any NSObjectProtocol]
  private let pressure: [any DispatchSourceMemoryPressure]

  /// Begins to tell of changes. `thermal` holds the thermal state from now on.
  @MainActor
  init(thermal: Gauge, tell: @escaping Tell) {
    thermal.value = PhoneApp.condition.thermal
    observers = [
      Self.observe(UIApplication.didReceiveMemoryWarningNotification) { tell("memory_warning", nil) },
      Self.observe(ProcessInfo.thermalStateDidChangeNotification) {
        thermal.value = PhoneApp.condition.thermal
        tell("thermal", Self.thermalName)
      },
      Self.observe(.NSProcessInfoPowerStateDidChange) {
        tell("low_power", ProcessInfo.processInfo.isLowPowerModeEnabled ? "on" : "off")
      },
    ]
    pressure = [
      Self.watch(.warning) { tell("memory_pressure", "warning") },
      Self.watch(.critical) { tell("memory_pressure", "critical") },
    ]
  }

  /// Not on the main actor, and so not its closure: iOS posts some of these from threads of its own.
  private static func observe(
    _ name: Notification.Name, act: @escaping @Sendable () -> Void
  ) -> any NSObjectProtocol {
    NotificationCenter.default.addObserver(forName: name, object: nil, queue: nil) { _ in act() }
  }

  /// The kernel's own warning, which comes before UIKit's.
  private static func watch(
    _ event: DispatchSource.MemoryPressureEvent, act: @escaping @Sendable () -> Void
  ) -> any DispatchSourceMemoryPressure {
    let source = DispatchSource.makeMemoryPressureSource(eventMask: event, queue: .main)
    source.setEventHandler(handler: act)
    source.activate()
    return source
  }

  /// nil for a state that this app does not know.
  private static var thermalName: String? {
    let state = PhoneApp.condition.thermal.map { Int($0) }
    return state.flatMap { PhoneCondition.thermalNames.indices.contains($0) ? PhoneCondition.thermalNames[$0] : nil }
  }
}
