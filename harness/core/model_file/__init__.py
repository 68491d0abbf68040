"""Model files, read and not guessed: `read_model_file`."""

from harness.core.model_file.errors import ModelFileError
from harness.core.model_file.facts import ModelFile, ModelFormat, Section, Signature, SignatureKind
from harness.core.model_file.read import read_model_file
from harness.core.model_file.source import BytesSource, Source

__all__ = [
    "BytesSource",
    "ModelFile",
    "ModelFileError",
    "ModelFormat",
    "Section",
    "Signature",
    "SignatureKind",
    "Source",
    "read_model_file",
]
