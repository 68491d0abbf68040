// Apple's Swift overlay of Darwin, as far as the runner uses it. See darwin.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are Apple's.

@_exported import Darwin

public var errno: Int32 {
  get { __error().pointee }
  set { __error().pointee = newValue }
}

public var S_IFMT: mode_t { 0o170000 }
public var S_IFREG: mode_t { 0o100000 }
public var S_IFDIR: mode_t { 0o040000 }

public var MAP_FAILED: UnsafeMutableRawPointer! { UnsafeMutableRawPointer(bitPattern: -1) }

public func open(_ path: UnsafePointer<CChar>, _ flags: Int32) -> Int32 { stub() }
public func open(_ path: UnsafePointer<CChar>, _ flags: Int32, _ mode: mode_t) -> Int32 { stub() }
public func fcntl(_ file: Int32, _ command: Int32) -> Int32 { stub() }
public func fcntl(_ file: Int32, _ command: Int32, _ value: Int32) -> Int32 { stub() }
public func fcntl(_ file: Int32, _ command: Int32, _ pointer: UnsafeMutableRawPointer) -> Int32 { stub() }

private func stub() -> Never { fatalError("a stub is only for checking types") }
