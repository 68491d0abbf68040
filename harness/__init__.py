"""iPhone load harness: does this model load on that phone, and what does it cost?"""

__version__ = "0.1.0"
