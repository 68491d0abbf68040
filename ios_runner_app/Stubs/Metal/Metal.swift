// Metal as far as the runner uses it, for checking types on a machine without Apple's SDK.
// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are Apple's.

public protocol MTLDevice: AnyObject {
  var currentAllocatedSize: Int { get }
}

public func MTLCreateSystemDefaultDevice() -> (any MTLDevice)? { nil }
