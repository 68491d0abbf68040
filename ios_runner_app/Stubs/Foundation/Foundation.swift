// Foundation of iOS as far as the runner uses it, for checking types on a machine without Apple's SDK.
// The Foundation of a Linux toolchain would not do: it lacks what only a phone has (thermal state, Low Power Mode).
// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are Apple's.

@_exported import Darwin
@_exported import Dispatch

public typealias TimeInterval = Double

public protocol NSObjectProtocol: AnyObject {}

open class NSObject: NSObjectProtocol {
  public init() {}
}

public struct CGFloat: Sendable, Equatable, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  public init(floatLiteral value: Double) {}
  public init(integerLiteral value: Int) {}
}

public struct CGRect: Sendable, Equatable {
  public static let zero = CGRect()
}

open class NSCoder: NSObject {}

public struct Notification: Sendable {
  public struct Name: Hashable, Sendable {
    public init(_ rawValue: String) {}
    public static let NSProcessInfoPowerStateDidChange = Name("NSProcessInfoPowerStateDidChangeNotification")
  }
}

public typealias NSNotification = Notification

open class OperationQueue: NSObject, @unchecked Sendable {}

open class NotificationCenter: NSObject, @unchecked Sendable {
  public static let `default` = NotificationCenter()

  @discardableResult
  open func addObserver(
    forName name: Notification.Name?, object: Any?, queue: OperationQueue?,
    using block: @escaping @Sendable (Notification) -> Void
  ) -> any NSObjectProtocol { NSObject() }
}

open class ProcessInfo: NSObject, @unchecked Sendable {
  public enum ThermalState: Int, Sendable {
    case nominal = 0
    case fair = 1
    case serious = 2
    case critical = 3
  }

  public static let processInfo = ProcessInfo()
  public static let thermalStateDidChangeNotification = Notification.Name("NSProcessInfoThermalStateDidChange")

  open var environment: [String: String] { [:] }
  open var thermalState: ThermalState { .nominal }
  open var isLowPowerModeEnabled: Bool { false }
}

public struct Data: Sendable {}

public struct URL: Sendable {
  public var path: String { "" }
}

extension Data {
  public init(contentsOf url: URL) throws { self.init() }
}

open class FileManager: NSObject, @unchecked Sendable {
  public static var `default`: FileManager { FileManager() }
  open var temporaryDirectory: URL { URL() }
}

open class Bundle: NSObject, @unchecked Sendable {
  public static var main: Bundle { Bundle() }
  open var infoDictionary: [String: Any]? { nil }
  open func url(forResource name: String?, withExtension fileExtension: String?) -> URL? { nil }
}

open class PropertyListSerialization: NSObject {
  public struct ReadOptions: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
  }

  public enum PropertyListFormat: UInt, Sendable {
    case openStep = 1
    case xml = 100
    case binary = 200
  }

  open class func propertyList(
    from data: Data, options: ReadOptions, format: UnsafeMutablePointer<PropertyListFormat>?
  ) throws -> Any { 0 }
}

open class Timer: NSObject {
  @discardableResult
  open class func scheduledTimer(
    withTimeInterval interval: TimeInterval, repeats: Bool, block: @escaping @Sendable (Timer) -> Void
  ) -> Timer { Timer() }

  open func invalidate() {}
}

public func NSHomeDirectory() -> String { "" }

public protocol LocalizedError: Error {
  var errorDescription: String? { get }
}

public protocol CustomNSError: Error {
  static var errorDomain: String { get }
  var errorCode: Int { get }
}

extension Error {
  public var localizedDescription: String { "" }
}
