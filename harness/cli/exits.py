"""The command's exit codes; 0 is done."""

MODEL_FAILED = 1
WRONG_USE = 2
DEVICE = 3
HARNESS = 4
INTERRUPTED = 130
"""As a shell reports a program that SIGINT ended."""
