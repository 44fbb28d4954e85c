"""`moot lab report`: pages, JSON and JUnit XML of runs whose histories were kept."""

from pathlib import Path

import click

from moot.agent.console import json_option, print_json
from moot.agent.kept import judged
from moot.gossip.errors import ConfigError


@click.command("report")
@click.argument(
    "histories", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="HISTORY..."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="Where to.",
)
@click.option("--scenario", metavar="NAME|FILE", help="What to judge by.  [default: the scenario that each names]")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of report.json instead.")
@json_option
def report(histories: tuple[Path, ...], out: Path, scenario: str | None, schema: bool, as_json: bool) -> None:
    """Write the report of runs from their histories: a page for each, one over all, report.json and junit.xml.

    A report keeps the history of each run beside its page, as JSON lines. What is judged is told by `moot lab judge`;
    here the exit code only says whether the report was written.
    """
    from moot.agent.report import describe
    from moot.agent.report.write import require_libraries, write_report

    if schema:
        print_json(describe.schema())
        return
    if not histories:
        raise click.UsageError("give the histories of runs; `moot lab run NAME --report DIR` keeps them")
    require_libraries()
    try:
        results = [judged(file, scenario) for file in histories]
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    paths = write_report(results, out)
    if as_json:
        pages = [str(path) for path in paths.runs]
        found = {"page": str(paths.page), "json": str(paths.json), "junit": str(paths.junit), "pages": pages}
        print_json(found)
    else:
        click.echo(str(paths.page))
