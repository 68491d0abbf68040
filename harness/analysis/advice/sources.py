"""Where the rules' knowledge is from: Apple's pages, issues of the engines, and this project's own pages."""

from __future__ import annotations

_APPLE = "https://developer.apple.com"
_ENTITLEMENTS = f"{_APPLE}/documentation/bundleresources/entitlements/com.apple.developer.kernel"
_MEDIAPIPE = "https://github.com/google-ai-edge/mediapipe/issues"
_SAMPLES = "https://github.com/google-ai-edge/mediapipe-samples/issues"
_LITERT_LM = "https://github.com/google-ai-edge/LiteRT-LM/issues"

EXTENDED_ADDRESSING_PAGE = f"{_ENTITLEMENTS}.extended-virtual-addressing"
INCREASED_LIMIT_PAGE = f"{_ENTITLEMENTS}.increased-memory-limit"
JETSAM_PAGE = f"{_APPLE}/documentation/xcode/identifying-high-memory-use-with-jetsam-event-reports"
MEMORY_WARNING_PAGE = f"{_APPLE}/documentation/uikit/responding-to-memory-warnings"
THERMAL_PAGE = f"{_APPLE}/documentation/foundation/processinfo/thermalstate"
_ENERGY_GUIDE = f"{_APPLE}/library/archive/documentation/Performance/Conceptual/EnergyGuide-iOS"
LOW_POWER_PAGE = f"{_ENERGY_GUIDE}/LowPowerMode.html"

BAD_ALLOC_ISSUE = f"{_MEDIAPIPE}/5757"
"""A 2.16 GB model on an iPhone 16 Pro: std::bad_alloc; extended addressing advised, conversions that run on the CPU."""
METAL_BUFFER_ISSUE = f"{_MEDIAPIPE}/5384"
FAILED_TO_MAP_ISSUE = f"{_SAMPLES}/393"
"""`Failed to map … Cannot allocate memory`; both entitlements advised."""
READY_WITHOUT_WEIGHTS_ISSUE = f"{_LITERT_LM}/2545"
"""A section that could not be mapped was left out, and the engine called itself ready."""
SILENT_CPU_ISSUE = f"{_LITERT_LM}/2689"

OUTCOMES_PAGE = "docs/outcomes.md"
SUITES_PAGE = "docs/suites.md"
PREFLIGHT_PAGE = "docs/preflight.md"
PHONE_PAGE = "docs/real-iphone.md"
VIRTUAL_PAGE = "docs/virtual-iphone.md"
CACHE_FIGURES = "docs/advice.md#what-the-weight-cache-does"
GPU_FIGURES = "docs/advice.md#what-counts-towards-the-footprint"
