"""One build of the site, timed without the imports: `bench_site` starts it in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

# what a build imports when it comes to it; its time is the command's, not the build's. What drawing needs is loaded by
# the processes that draw, while the build goes on
import pandas  # noqa: F401

from harness.report.site.build import build_site
from harness.report.site.data import read_site_data  # noqa: F401
from harness.report.site.plan import plan  # noqa: F401


def main() -> None:
    results, target, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began = time.perf_counter()
    files = build_site(results, target, processes=processes)
    took_s = time.perf_counter() - began
    print(json.dumps({"build_s": took_s, "drawn": len(files.drawn), "kept": len(files.kept)}))


if __name__ == "__main__":
    main()
