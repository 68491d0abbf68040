"""What a file that is no model may be instead, told by its first bytes, and what to do about it."""

from __future__ import annotations

from harness.core.model_file.errors import DOWNLOAD_AGAIN

CONVERT = "convert it to a .task or .litertlm first"
BEGINS = (
    (b"version https://git-lfs", "is a git-lfs pointer, not the model", "fetch the model itself: git lfs pull"),
    (b"GGUF", "is a GGUF file", CONVERT),
    (b"\x1f\x8b", "is packed with gzip", "unpack it first"),
    (b"PK\x05\x06", "is an empty zip", DOWNLOAD_AGAIN),
    (b"\x80\x02", "is a Python pickle", CONVERT),
    (b"{", "is JSON, perhaps a server's error message", "open it in an editor, then download the model again"),
    (b"Invalid ", "is a text, perhaps a server's error message", "open it in an editor, then download the model again"),
    (b"Access to ", "is a text, perhaps of a gated download", "accept the model's licence, then download it again"),
)
HTML_BEGINS = (b"<!doctype html", b"<html", b"<?xml")
SAFETENSORS_AT = 8
FORMATS = "a .task, .litertlm, .tflite or .bin model is expected"


def stranger(begin: bytes, size_bytes: int) -> tuple[str, str]:
    """What it is, and the remedy. `begin`: some hundred bytes of a file of `size_bytes`."""
    if not begin:
        return "is empty", DOWNLOAD_AGAIN
    if begin.lstrip().lower().startswith(HTML_BEGINS):
        return (
            f"is no model but a web page ({size_bytes} bytes): it begins with {begin.lstrip()[:15]!r}",
            "download the file itself; a gated model needs its licence accepted and a token",
        )
    for word, what, remedy in BEGINS:
        if begin.startswith(word):
            return what, remedy
    if begin[SAFETENSORS_AT : SAFETENSORS_AT + 2] == b'{"':
        return "is a safetensors file", CONVERT
    if not any(begin):
        return "begins with zeros: a download that was prepared and not filled", DOWNLOAD_AGAIN
    return f"is no model known here: it begins with {begin[:8].hex(' ')}", FORMATS
