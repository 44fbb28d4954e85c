"""`moot serf info`."""

from collections.abc import Mapping

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.gotext import json_text, quote, trimmed
from moot.agent.serf.line import Command, Failed
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf info [FLAGS]

  Shows an agent's figures: its clocks, queues and health, its tags, its event handlers, its process.

Flags:

  -format=text|json    What to print [text]
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {"format": flags.text("text"), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    with connected(given) as client, saying("Error querying agent"):
        stats = client.stats()
    stats = {title: dict(sorted(section.items())) for title, section in sorted(stats.items())}
    form = given.text("format")
    if form == "json":
        ui.out(json_text(stats))
    elif form == "text":
        ui.out(_text(stats))
    else:
        raise Failed(f"Encoding error: Invalid output format {quote(form)}")
    return 0


def _text(stats: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for title, section in stats.items():
        lines += [f"{title}:", *(f"\t{key} = {value}" for key, value in section.items())]
    return trimmed("\n".join(lines))


command = Command(HELP, _flags, _run)
