"""`moot serf members`."""

from collections.abc import Sequence

from moot.agent.rpc.protocol import Member
from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, given_tags, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.gotext import columns, json_text, quote, trimmed
from moot.agent.serf.line import Command, Failed
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf members [FLAGS]

  Lists the members of the pool as one agent sees them: name, address, status, tags.

Flags (regular expressions must match the whole text):

  -name=REGEXP         Only members with such a name
  -status=REGEXP       Only members in such a status: alive, leaving, left, failed
  -tag KEY=REGEXP      Only members whose tag KEY is such; repeatable, all must match
  -role=REGEXP         An old form of -tag role=REGEXP
  -detailed            Show protocol versions, too (as text; JSON always has them)
  -format=text|json    What to print [text]
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {
        "detailed": flags.switch(),
        "role": flags.text(),
        "status": flags.text(),
        "tag": flags.texts(),
        "name": flags.text(),
        "format": flags.text("text"),
        **rpc_flags(),
    }


def _run(given: Given, ui: Ui) -> int:
    tags = given_tags(given, "tag")
    if given.text("role"):
        ui.out("Deprecation warning: 'Role' has been replaced with 'Tags'")
        tags["role"] = given.text("role")
    with connected(given) as client, saying("Error retrieving members"):
        members = client.members_filtered(tags=tags, status=given.text("status"), name=given.text("name"))
    form = given.text("format")
    if form == "json":
        ui.out(json_text({"members": [_tree(member) for member in members] or None}))
    elif form == "text":
        ui.out(_table(members, detailed=given.switch("detailed")))
    else:
        raise Failed(f"Encoding error: Invalid output format {quote(form)}")
    return 0


def _tree(member: Member) -> dict[str, object]:
    return {
        "name": member.name,
        "addr": str(member.address),
        "port": member.port,
        "tags": dict(sorted(member.tags.items())),
        "status": member.status,
        "protocol": {"max": member.delegate_max, "min": member.delegate_min, "version": member.delegate_cur},
    }


def _table(members: Sequence[Member], *, detailed: bool) -> str:
    return trimmed("\n".join(columns([_line(member, detailed) for member in members])))


def _line(member: Member, detailed: bool) -> str:
    tags = ",".join(f"{key}={value}" for key, value in sorted(member.tags.items()))
    line = f"{member.name}|{member.address}|{member.status}|{tags}"
    if detailed:
        span = f"[{member.delegate_min}, {member.delegate_max}]"
        line += f"|Protocol Version: {member.delegate_cur}|Available Protocol Range: {span}"
    return line


command = Command(HELP, _flags, _run)
