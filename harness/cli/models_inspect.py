"""`harness models inspect`: what a model file says of itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import print_json, print_table, talk
from harness.core.model_file import ModelFile, Signature
from harness.core.units import format_bytes

NOT_STATED = "not stated"
DIGEST_TALK_BYTES = 256 * 1024 * 1024
"""Reading more takes long enough to say so."""


def inspect_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .task, .litertlm, .tflite or .bin.")],
    digest: Annotated[bool, typer.Option("--digest", help="Its SHA-256, too; this reads the whole file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: every figure, in bytes.")] = False,
) -> None:
    """Show format, weights, context, signatures and backends of a model file; read from its tables, never guessed."""
    from harness.bench.model_files import inspect_model

    if digest and file.is_file() and file.stat().st_size > DIGEST_TALK_BYTES:
        talk(f"reading {format_bytes(file.stat().st_size)} for the digest")
    model = inspect_model(file, digest=digest)
    if as_json:
        print_json(
            {"path": str(file), **asdict(model), "quantization": model.quantization, "kv_bytes": _kv_bytes(model)}
        )
        return
    print_table(("figure", "value"), _figures(file, model, digest=digest))
    if model.signatures:
        typer.echo()
        print_table(
            ("signature", "kind", "tokens", "weights used", "largest"),
            [_signature_row(signature) for signature in model.signatures],
            right=("tokens", "weights used", "largest"),
        )
    if model.sections:
        typer.echo()
        print_table(
            ("section", "at byte", "size"),
            [(section.name, str(section.offset), format_bytes(section.size_bytes)) for section in model.sections],
            right=("at byte", "size"),
        )


def _figures(file: Path, model: ModelFile, *, digest: bool) -> list[tuple[str, str]]:
    rows = [
        ("file", str(file)),
        ("format", model.format.value),
        ("size", f"{format_bytes(model.size_bytes)} ({model.size_bytes} bytes)"),
        ("architecture", model.architecture or NOT_STATED),
        ("weights", _bytes_or_not(model.weight_bytes)),
    ]
    rows += [(f"  {kind}", format_bytes(size)) for kind, size in (model.weights_by_type or {}).items()]
    kv_bytes = _kv_bytes(model)
    per_token = "" if kv_bytes is None else f" ({_bytes_or_not(model.kv_bytes_per_token)} a token)"
    rows += [
        ("embedding", _bytes_or_not(model.embedding_bytes)),
        ("context", NOT_STATED if model.context is None else f"{model.context} tokens"),
        ("key and value caches", _bytes_or_not(kv_bytes) + per_token),
        ("backends", ", ".join(model.backends) or NOT_STATED),
        ("tokenizer", model.tokenizer or NOT_STATED),
    ]
    return [*rows, ("sha256", model.sha256 or NOT_STATED)] if digest else rows


def _kv_bytes(model: ModelFile) -> int | None:
    """Of the whole context."""
    if model.kv_bytes_per_token is None or model.context is None:
        return None
    return model.kv_bytes_per_token * model.context


def _signature_row(signature: Signature) -> tuple[str, ...]:
    return (
        signature.name,
        signature.kind.value,
        NOT_STATED if signature.tokens is None else str(signature.tokens),
        format_bytes(signature.weight_bytes),
        format_bytes(signature.largest_weight_bytes),
    )


def _bytes_or_not(size_bytes: int | None) -> str:
    return NOT_STATED if size_bytes is None else format_bytes(size_bytes)
