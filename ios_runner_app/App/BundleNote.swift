import Foundation
import RunnerCore

/// What the build put into the bundle: Info.plist, with our own dictionary in it, and the entitlements it asked for.
///
/// The host reads the same of the `.ipa` (`harness runner show`). Which entitlements the signature really carries the
/// app cannot see; the host asks the phone.
struct BundleNote {
  private static let aboutKey = "LoadHarness"
  private static let entitlementsFile = "archived-expanded-entitlements"

  let build: BuildInfo
  private let engines: [String: String]

  init() throws(SetupError) {
    let info = Bundle.main.infoDictionary ?? [:]
    guard let about = info[Self.aboutKey] as? [String: Any], let engines = about["engines"] as? [String: String],
      let version = info["CFBundleShortVersionString"] as? String, let number = info["CFBundleVersion"] as? String
    else { throw SetupError("the app was not built as this project builds it: Info.plist lacks \(Self.aboutKey)") }
    var build = BuildInfo()
    build.version = version
    build.build = number
    // A build outside of a checkout has an empty one.
    build.commit = (about["commit"] as? String).flatMap { $0.isEmpty ? nil : $0 }
    build.entitlements = try Self.entitlements()
    self.build = build
    self.engines = engines
  }

  func version(of engine: String) -> String { engines[engine] ?? "unknown" }

  private static func entitlements() throws(SetupError) -> JSONValue {
    guard let file = Bundle.main.url(forResource: entitlementsFile, withExtension: "xcent") else {
      throw SetupError("the app's bundle lacks \(entitlementsFile).xcent: build it with scripts/build-ipa.sh")
    }
    do {
      let value = try PropertyListSerialization.propertyList(from: Data(contentsOf: file), options: [], format: nil)
      guard let entitlements = value as? [String: Any] else { throw SetupError("it is no dictionary") }
      return .object(entitlements.sorted { $0.key < $1.key }.map { JSONValue.Member($0.key, json($0.value)) })
    } catch {
      throw SetupError("\(entitlementsFile).xcent cannot be read: \(error)")
    }
  }

  /// Entitlements are switches, texts, and lists of texts.
  private static func json(_ value: Any) -> JSONValue {
    switch value {
    case let value as Bool: .bool(value)
    case let value as String: .string(value)
    case let value as [String]: .array(value.map { .string($0) })
    default: .string("\(value)")
    }
  }
}
