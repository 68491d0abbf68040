"""The command `harness`: thin, one verb a file, no rules of its own.

stdout is data, stderr is talk. Exit codes: 0 done, 1 a model failed, 2 wrong use, 3 device trouble, 4 harness trouble.
"""
