// swift-tools-version: 6.0
import PackageDescription

// No dependency outside this folder, and no Foundation in what is measured: the app's own memory is part of every
// reading it takes, and the Linux executable must start from a bundle without any library of Swift's beside it.
let package = Package(
  name: "iphone-load-runner",
  platforms: [.iOS(.v15), .macOS(.v13)],
  products: [
    .library(name: "RunnerCore", targets: ["RunnerCore"]),
    .library(name: "RunnerEngines", targets: ["RunnerEngines"]),
    .executable(name: "RunnerLinux", targets: ["RunnerLinux"]),
  ],
  targets: [
    .target(name: "RunnerCore"),
    .target(name: "RunnerEngines", dependencies: ["RunnerCore"]),
    .executableTarget(name: "RunnerLinux", dependencies: ["RunnerCore", "RunnerEngines"]),
    .executableTarget(name: "RunnerBench", dependencies: ["RunnerCore"]),
    // For its tests only: the app is built by Xcode with the real MediaPipe (project.yml).
    .target(name: "MediaPipeTasksGenAI", path: "Tests/MediaPipeFake"),
    .target(name: "MediaPipeEngine", dependencies: ["RunnerCore", "RunnerEngines", "MediaPipeTasksGenAI"]),
    .testTarget(name: "MediaPipeEngineTests", dependencies: ["MediaPipeEngine"]),
    .testTarget(name: "RunnerCoreTests", dependencies: ["RunnerCore"]),
    .testTarget(name: "RunnerEnginesTests", dependencies: ["RunnerEngines"]),
  ],
  swiftLanguageModes: [.v6]
)
