#!/usr/bin/env bash
# Signs a runner app (.ipa) for phones of another team, or one that was built unsigned. On Linux with zsign
# (https://github.com/zhlynn/zsign), on a Mac with codesign. Written from their documentation; not yet run.
#
#   scripts/resign.sh --profile P.mobileprovision --key KEY.p12|"IDENTITY" [--bundle-id ID] IN.ipa OUT.ipa
#
#   --key   Linux: a .p12 file, its password in KEY_PASSWORD; Mac: the certificate's name in the keychain
#
# The entitlements are those that the app was built to have (its variant), and the profile has to allow them: without
# them the app runs, but under other memory limits than its name says.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "resign.sh: $*" >&2
    exit 2
}

profile='' key='' bundle_id=''
while [ $# -gt 2 ]; do
    case $1 in
        --profile) profile=$2 ;;
        --key) key=$2 ;;
        --bundle-id) bundle_id=$2 ;;
        *) fail "unknown option $1; see the head of this file" ;;
    esac
    shift 2
done
[ $# = 2 ] || fail "usage: $0 --profile P.mobileprovision --key KEY [--bundle-id ID] IN.ipa OUT.ipa"
in=$1 out=$2
[ -f "$in" ] || fail "there is no $in"
[ -f "$profile" ] || fail "--profile must be a provisioning profile, got '$profile'"
[ -n "$key" ] || fail "--key is missing"
for tool in python3 unzip zip; do command -v $tool >/dev/null || fail "missing: $tool"; done
if command -v codesign >/dev/null; then
    signer=codesign
elif command -v zsign >/dev/null; then
    signer=zsign
    command -v openssl >/dev/null || fail "missing: openssl"
    [ -f "$key" ] || fail "--key must be a .p12 file for zsign, got '$key'"
else
    fail "missing: zsign (https://github.com/zhlynn/zsign), or codesign on a Mac"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unzip -q "$in" -d "$work"
app=$(find "$work/Payload" -maxdepth 1 -name '*.app')
[ -d "$app" ] || fail "$in has no Payload/<name>.app"

# The profile is a signed message around a plist.
if [ $signer = codesign ]; then
    security cms -D -i "$profile" >"$work/profile.plist"
else
    openssl smime -verify -noverify -inform DER -in "$profile" -out "$work/profile.plist" 2>/dev/null
fi
python3 "$scripts/signing_entitlements.py" "$work/profile.plist" "$app" "$bundle_id" >"$work/entitlements.plist"

if [ $signer = zsign ]; then
    zsign -k "$key" -p "${KEY_PASSWORD:-}" -m "$profile" -e "$work/entitlements.plist" \
        ${bundle_id:+-b "$bundle_id"} -o "$out" "$in"
else
    [ -z "$bundle_id" ] || /usr/libexec/PlistBuddy -c "Set :CFBundleIdentifier $bundle_id" "$app/Info.plist"
    cp "$profile" "$app/embedded.mobileprovision"
    # From the inside out: a signature covers what lies within.
    find "$app/Frameworks" -depth \( -name '*.framework' -o -name '*.dylib' \) -print0 2>/dev/null |
        while IFS= read -r -d '' part; do codesign --force --sign "$key" "$part"; done
    codesign --force --sign "$key" --entitlements "$work/entitlements.plist" "$app"
    codesign --verify --deep --strict "$app"
    case $out in /*) ;; *) out=$PWD/$out ;; esac
    rm -f "$out"
    (cd "$work" && zip -qry "$out" Payload)
fi
echo "$out"
