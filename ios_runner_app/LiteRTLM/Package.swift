// swift-tools-version: 6.0
import PackageDescription

// LiteRT-LM's C library for iOS, as its makers publish it: version and digest are pinned here, and an archive of other
// content does not build.
//
// Their own package (github.com/google-ai-edge/LiteRT-LM) points at the same archive. It is not used: to resolve it
// SwiftPM has to check their whole repository out, large files of other platforms included, which has failed in
// releases before (issue 2920 there), and its Swift wrapper is not needed, the runner calls the C functions.
let package = Package(
  name: "LiteRTLM",
  platforms: [.iOS(.v15)],
  products: [.library(name: "CLiteRTLM", targets: ["CLiteRTLM"])],
  targets: [
    .binaryTarget(
      name: "CLiteRTLM",
      url: "https://github.com/google-ai-edge/LiteRT-LM/releases/download/v0.18.0/CLiteRTLM.xcframework.zip",
      checksum: "d765b99592d4ec3d0c9e2bd69469454af06c834861340672da1891c0c121c347")
  ]
)
