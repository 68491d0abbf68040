// Dispatch as far as the runner uses it, for checking types. A Linux toolchain's has no memory pressure source.

public class DispatchQueue: @unchecked Sendable {
  public static let main = DispatchQueue()
}

public protocol DispatchSourceProtocol: AnyObject {
  func activate()
  func setEventHandler(handler: (() -> Void)?)
}

public protocol DispatchSourceMemoryPressure: DispatchSourceProtocol {}

public class DispatchSource {
  public struct MemoryPressureEvent: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let warning = MemoryPressureEvent(rawValue: 2)
    public static let critical = MemoryPressureEvent(rawValue: 4)
  }

  public class func makeMemoryPressureSource(
    eventMask: MemoryPressureEvent, queue: DispatchQueue? = nil
  ) -> any DispatchSourceMemoryPressure { fatalError("a stub is only for checking types") }
}
