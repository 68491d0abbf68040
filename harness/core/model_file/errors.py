"""The one error of a model file that cannot be read."""

from __future__ import annotations

from harness.core.errors import UsageError

DOWNLOAD_AGAIN = "download or copy it again"


class ModelFileError(UsageError):
    """Names the file, the place in it, what is wrong there and the remedy."""

    def __init__(self, file: str, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {place}: {problem}; {remedy}" if place else f"{file}: {problem}; {remedy}")
        self.file = file
        self.place = place
        self.problem = problem
        self.remedy = remedy
