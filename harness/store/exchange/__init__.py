"""Results on their way out and in: exports, imports, and one store's results into another. Knows `core` and the store.

What comes in is untrusted: it is checked like anything from outside, and taken wholly or not at all.
"""
