"""Start the app: ``python -m harness.runner.app`` from a checkout, ``python -I runner.pyz`` in the bundle."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
