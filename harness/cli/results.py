"""`harness results …`: what is kept, listed, shown, given away, taken in and tidied up; one verb a function."""

from __future__ import annotations

import typer

from harness.cli import results_demo, results_files, results_gc, results_list, results_merge, results_show

app = typer.Typer(help="Records of trials.", no_args_is_help=True, rich_markup_mode=None)
app.command("list")(results_list.list_results)
app.command("show")(results_show.show)
app.command("export")(results_files.export)
app.command("import")(results_files.import_files)
app.command("to-pandas")(results_files.to_pandas)
app.command("merge")(results_merge.merge_results)
app.command("gc")(results_gc.gc)
app.command("demo")(results_demo.demo)
