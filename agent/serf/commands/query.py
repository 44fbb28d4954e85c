"""`moot serf query`."""

from collections.abc import Iterator

from moot.agent.rpc import protocol
from moot.agent.rpc.client import RpcClosed
from moot.agent.rpc.protocol import AnswerRecord
from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, given_tags, rpc_flags, saying
from moot.agent.serf.commands.event import name_and_payload
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.gotext import json_text
from moot.agent.serf.line import Command, Failed
from moot.agent.serf.ui import Ui

RELAY_MAX = 255
SECOND = 1e9

HELP = f"""
Usage: moot serf query [FLAGS] NAME [PAYLOAD]

  Asks the pool and shows who confirms, and who answers what, until the time is up.

Flags:

  -node=NAME           Ask only this member; repeatable
  -tag KEY=REGEXP      Ask only members in whose tag KEY this is found; repeatable
  -timeout=DURATION    How long to wait, such as 15s [by the size of the pool]
  -no-ack              Ask for no confirmations
  -relay-factor=N      Have answers come through this many other members, too [0]
  -format=text|json    What to print [text]
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {
        "node": flags.texts(),
        "tag": flags.texts(),
        "timeout": flags.duration(),
        "no-ack": flags.switch(),
        "relay-factor": flags.number(),
        "format": flags.text("text"),
        **rpc_flags(),
    }


def _run(given: Given, ui: Ui) -> int:
    tags = given_tags(given, "tag")
    name, payload = name_and_payload(given, "A query")
    if not 0 <= given.number("relay-factor") <= RELAY_MAX:
        raise Failed(f"Relay factor must be between 0 and {RELAY_MAX}")
    with connected(given) as client, saying("Error sending query"):
        form = given.text("format")
        if form not in ("text", "json"):
            raise Failed(f"Invalid format: {form}")
        answers = client.query(
            name,
            payload,
            nodes=given.texts("node"),
            tags=tags,
            ack=not given.switch("no-ack"),
            relay_factor=given.number("relay-factor"),
            timeout=given.number("timeout") / SECOND,
        )
        if form == "json":
            _print_json(answers, ui)
        else:
            ui.out(f"Query '{name}' dispatched")
            _print_text(answers, ui, acks_wanted=not given.switch("no-ack"))
    return 0


def _print_text(answers: Iterator[AnswerRecord], ui: Ui, *, acks_wanted: bool) -> None:
    """Each as it comes, then how many; also when the agent goes away before the end."""
    acks = responses = 0
    try:
        for answer in answers:
            if answer.type == protocol.ACK:
                acks += 1
                ui.out(f"Ack from '{answer.sender}'")
            elif answer.type == protocol.RESPONSE:
                responses += 1
                text = _text(answer)
                ui.out(f"Response from '{answer.sender}': {text.removesuffix(chr(10))}")
        failure = None
    except RpcClosed as error:
        failure = error
    if acks_wanted:
        ui.out(f"Total Acks: {acks}")
    ui.out(f"Total Responses: {responses}")
    if failure:
        raise failure


def _print_json(answers: Iterator[AnswerRecord], ui: Ui) -> None:
    acks: list[str] = []
    responses: dict[str, str] = {}
    for answer in answers:
        if answer.type == protocol.ACK:
            acks.append(answer.sender)
        elif answer.type == protocol.RESPONSE:
            responses[answer.sender] = _text(answer)
    ui.out(json_text({"Acks": acks or None, "Responses": dict(sorted(responses.items()))}))


def _text(answer: AnswerRecord) -> str:
    return answer.payload.decode("utf-8", "surrogateescape")


command = Command(HELP, _flags, _run)
