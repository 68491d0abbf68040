#!/usr/bin/env bash
# Checks the types of everything that becomes the iOS app, on a machine without Apple's SDK: Swift 6 language mode,
# warnings are errors, against the stubs of Apple's and MediaPipe's modules in Stubs/.
#
# What it cannot show: that the stubs are what Apple ships, availability, linking, signing, the engines' binaries.
#
#   scripts/typecheck-ios.sh           check; exit 0 when all is well
#   scripts/typecheck-ios.sh --list    the files it checks, one a line
#
# SWIFTC: the compiler (default: swiftc on the PATH). STUBS: another folder of stubs.
set -euo pipefail
cd "$(dirname "$0")/.."

stubs=$(cd "${STUBS:-Stubs}" && pwd)
swiftc=${SWIFTC:-swiftc}

# The modules of the app in the order of their imports, each with its folders; project.yml makes the same of them.
modules=(RunnerCore RunnerEngines Runner)
sources_of() {
    case $1 in
        RunnerCore) echo Sources/RunnerCore ;;
        RunnerEngines) echo Sources/RunnerEngines ;;
        Runner) echo App Sources/MediaPipeEngine ;;
    esac
}
# Stubs written in Swift, in the order of their imports; Darwin has a C header below it, os is nothing but one.
stub_modules=(Darwin Dispatch Foundation CryptoKit Metal UIKit MediaPipeTasksGenAI)

swift_files() {
    local folders
    read -ra folders <<<"$(sources_of "$1")"
    find "${folders[@]}" -name '*.swift' | LC_ALL=C sort
}

if [ "${1:-}" = --list ]; then
    for module in "${modules[@]}"; do swift_files "$module"; done
    exit
elif [ $# -gt 0 ]; then
    echo "usage: $0 [--list]" >&2
    exit 2
fi
if ! command -v "$swiftc" >/dev/null; then
    echo "$0: there is no $swiftc: install a Swift 6 toolchain (https://www.swift.org/install) or set SWIFTC" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-parse-as-library -wmo -I "$work/modules" -I "$stubs/Darwin" -I "$stubs/os" -module-cache-path "$work/cache")
mkdir "$work/modules"

for module in "${stub_modules[@]}"; do
    overlay=()
    if [ -f "$stubs/$module/module.modulemap" ]; then overlay=(-import-underlying-module); fi
    "$swiftc" "${flags[@]}" -swift-version 5 -suppress-warnings "${overlay[@]}" -emit-module -module-name "$module" \
        -emit-module-path "$work/modules/$module.swiftmodule" "$stubs/$module"/*.swift
done

# A Linux compiler holds os(Linux) for true and os(iOS) for false, and nothing on its command line changes that: a copy
# of the sources has the conditions as an iOS compiler would see them. Lines and names stay as they are.
for module in "${modules[@]}"; do
    mapfile -t files < <(swift_files "$module")
    for file in "${files[@]}"; do
        mkdir -p "$work/$(dirname "$file")"
        sed -E '/^[[:space:]]*#(if|elseif)/{
            s/\bos\((Linux|macOS)\)|canImport\(Glibc\)/NEVER_ON_IOS/g
            s/\bos\(iOS\)/ALWAYS_ON_IOS/g
        }' "$file" >"$work/$file"
    done
    (
        cd "$work"
        "$swiftc" "${flags[@]}" -swift-version 6 -warnings-as-errors -D ALWAYS_ON_IOS -package-name LoadRunner \
            -emit-module -module-name "$module" -emit-module-path "$work/modules/$module.swiftmodule" "${files[@]}"
    )
    echo "$module: ${#files[@]} files"
done
