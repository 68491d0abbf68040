#!/usr/bin/env bash
# Builds the runner app for physical iPhones: one .ipa a variant. Needs a Mac with Xcode, XcodeGen and CocoaPods.
#
#   scripts/build-ipa.sh [--unsigned] [--variant NAME]... [--out FOLDER]
#
#   --unsigned       no certificate needed; a phone takes the result only after scripts/resign.sh
#   --variant NAME   plain, extended-addressing, increased-limit, both; default: all four
#   --out FOLDER     where Runner-<variant>.ipa go; default: build/ios
#
# Environment for signed builds:
#   DEVELOPMENT_TEAM   the team's id (10 characters); a paid account, else the two memory entitlements are refused
#   BUNDLE_ID          an app id that is this team's; default: the one in project.yml
#   ASC_KEY_PATH, ASC_KEY_ID, ASC_ISSUER_ID   an App Store Connect key, where no account is signed in to Xcode
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")/.."

fail() {
    echo "build-ipa.sh: $*" >&2
    exit 2
}
value_of() {
    [ $# -ge 2 ] || fail "$1 needs a value"
    echo "$2"
}

signed=yes
variants=()
out=build/ios
while [ $# -gt 0 ]; do
    case $1 in
        --unsigned) signed=no ;;
        --variant)
            variants+=("$(value_of "$@")")
            shift
            ;;
        --out)
            out=$(value_of "$@")
            case $out in /*) ;; *) out=$invoked_from/$out ;; esac
            shift
            ;;
        *) fail "unknown option $1; see the head of this file" ;;
    esac
    shift
done
[ ${#variants[@]} -gt 0 ] || variants=(plain extended-addressing increased-limit both)
for variant in "${variants[@]}"; do
    [ -f "App/Entitlements/$variant.entitlements" ] || fail "there is no variant $variant"
done

missing=()
command -v xcodebuild >/dev/null || missing+=("xcodebuild: install Xcode 16 or later (macOS only)")
command -v xcodegen >/dev/null || missing+=("xcodegen: brew install xcodegen (2.44.1 or later)")
command -v pod >/dev/null || missing+=("pod: brew install cocoapods")
if [ $signed = yes ]; then
    [ -n "${DEVELOPMENT_TEAM:-}" ] || missing+=("DEVELOPMENT_TEAM: the id of a team with a paid account, or --unsigned")
    key="${ASC_KEY_PATH:+1}${ASC_KEY_ID:+1}${ASC_ISSUER_ID:+1}"
    case $key in
        "" | 111) ;;
        *) missing+=("ASC_KEY_PATH, ASC_KEY_ID and ASC_ISSUER_ID: all three or none") ;;
    esac
fi
if [ ${#missing[@]} -gt 0 ]; then
    printf 'build-ipa.sh: missing: %s\n' "${missing[@]}" >&2
    exit 2
fi

commit=$(git rev-parse HEAD 2>/dev/null || true)
if [ -n "$commit" ] && [ -n "$(git status --porcelain -- . 2>/dev/null)" ]; then commit=$commit-changed; fi
# The same sources and tools give the same number: the host sees by it whether the phone has this very build.
digest=$({
    xcodebuild -version
    find App LiteRTLM Sources Podfile project.yml -type f | LC_ALL=C sort | while IFS= read -r file; do
        shasum -a 256 "$file"
    done
} | shasum -a 256 | cut -c1-12)
number=$((16#$digest))

xcodegen generate --quiet
pod install --silent

settings=("HARNESS_COMMIT=$commit" "CURRENT_PROJECT_VERSION=$number")
[ -z "${BUNDLE_ID:-}" ] || settings+=("HARNESS_BUNDLE_ID=$BUNDLE_ID")
provisioning=()
if [ $signed = yes ]; then
    settings+=("DEVELOPMENT_TEAM=$DEVELOPMENT_TEAM")
    provisioning=(-allowProvisioningUpdates)
    if [ -n "${ASC_KEY_PATH:-}" ]; then
        provisioning+=(-authenticationKeyPath "$ASC_KEY_PATH" -authenticationKeyID "$ASC_KEY_ID")
        provisioning+=(-authenticationKeyIssuerID "$ASC_ISSUER_ID")
    fi
else
    settings+=(CODE_SIGNING_ALLOWED=NO)
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for variant in "${variants[@]}"; do
    archive=$work/$variant.xcarchive
    # macOS' own bash is 3.2, which holds an empty array for an unset variable.
    xcodebuild -quiet -workspace LoadRunner.xcworkspace -scheme "Runner $variant" -configuration "$variant" \
        -destination generic/platform=iOS -archivePath "$archive" ${provisioning[@]+"${provisioning[@]}"} \
        "${settings[@]}" archive
    ipa=$out/Runner-$variant.ipa
    if [ $signed = yes ]; then
        cat >"$work/export.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>method</key><string>debugging</string>
  <key>teamID</key><string>$DEVELOPMENT_TEAM</string>
  <key>signingStyle</key><string>automatic</string>
  <key>stripSwiftSymbols</key><false/>
</dict></plist>
PLIST
        xcodebuild -quiet -exportArchive -archivePath "$archive" -exportPath "$work/$variant" \
            -exportOptionsPlist "$work/export.plist" "${provisioning[@]}"
        mv "$work/$variant/Runner.ipa" "$ipa"
    else
        mkdir -p "$work/$variant/Payload"
        cp -R "$archive/Products/Applications/Runner.app" "$work/$variant/Payload/"
        rm -f "$ipa"
        (cd "$work/$variant" && zip -qry "$ipa" Payload)
    fi
    echo "$ipa"
done
