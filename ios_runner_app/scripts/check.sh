#!/usr/bin/env bash
# Everything that must hold of the Swift runner on Linux: format, the iOS app's types, a release build, tests, and the
# tests again under the thread sanitizer. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."

swift format lint --strict --recursive App LiteRTLM Package.swift Sources Stubs Tests
scripts/typecheck-ios.sh
swift build -c release -Xswiftc -warnings-as-errors
swift test -Xswiftc -warnings-as-errors
swift test --sanitize=thread --scratch-path .build/thread-sanitizer
