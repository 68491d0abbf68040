/// What the builder of the app knew; it lies in the bundle as JSON.
public struct BuildInfo: Equatable, Sendable {
  public var version = "0"
  public var build = "unbuilt"
  public var commit: String?
  /// Those that the app was signed for, as far as the builder knows.
  public var entitlements: JSONValue = .object([])

  public init() {}

  /// Reads `{"version", "build", "commit", "entitlements"}`; other members are somebody else's.
  public init(_ note: JSONValue) throws(SetupError) {
    guard case .string(let version) = note["version"], case .string(let build) = note["build"],
      case .object = note["entitlements"]
    else { throw SetupError("the builder's note needs version, build and entitlements, got \(note.shown)") }
    self.version = version
    self.build = build
    if case .string(let commit) = note["commit"] { self.commit = commit }
    entitlements = note["entitlements"] ?? .object([])
  }
}

/// What the app runs on.
public struct DeviceFacts: Equatable, Sendable {
  /// `ios` or `linux`.
  public let platform: String
  public let hwMachine: String
  public let osBuild: String
  public let ramBytes: Int64

  public init(platform: String, hwMachine: String, osBuild: String, ramBytes: Int64) {
    self.platform = platform
    self.hwMachine = hwMachine
    self.osBuild = osBuild
    self.ramBytes = ramBytes
  }
}

/// What the phone says of its state at a moment; nil where it does not tell.
public struct PhoneCondition: Equatable, Sendable {
  /// By number, as `ProcessInfo.ThermalState` counts them.
  public static let thermalNames = ["nominal", "fair", "serious", "critical"]

  /// 0 nominal … 3 critical.
  public var thermal: Int64?
  public var lowPower: Bool?

  public init(thermal: Int64? = nil, lowPower: Bool? = nil) {
    self.thermal = thermal
    self.lowPower = lowPower
  }

  var thermalName: String? {
    thermal.flatMap { Self.thermalNames.indices.contains(Int($0)) ? Self.thermalNames[Int($0)] : nil }
  }
}

/// The environment is unusable; `code` is the exit code of an executable that cannot start.
public struct SetupError: Error, Equatable, CustomStringConvertible {
  /// sysexits' EX_CONFIG.
  public static let unusable: Int32 = 78
  /// The port is taken (EADDRINUSE's number on Linux).
  public static let portTaken: Int32 = 98

  public let code: Int32
  public let description: String

  public init(_ description: String, code: Int32 = SetupError.unusable) {
    self.code = code
    self.description = description
  }
}
