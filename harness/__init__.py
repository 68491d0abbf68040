"""iPhone load harness: does this model load on that phone, and what does it cost?"""

__version__ = "0.1.0"
APP_NAME = "iphone-load-harness"
"""Of the folders in which a user's caches are kept."""
