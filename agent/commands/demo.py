"""`moot demo`."""

import json
import shutil
import sys

import click

from moot.agent.console import json_option
from moot.agent.demo import Demo, DemoFailed
from moot.agent.interrupts import caught


@click.command("demo")
@json_option
def command(as_json: bool) -> None:
    """Watch a real pool form, lose a member, and agree about it; under a minute.

    Five agents on loopback form a pool and a sixth joins over HTTP. One is killed: every agent's HTTP answer turns
    to failed, and after a force-leave to left. When the real `serf` is on PATH, it joins the same pool, and its own
    list must say the same. Exit code 1 when anything does not hold.
    """

    def tell(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    reason = ""
    with caught() as interrupts:
        demo = Demo(tell=(lambda _line: None) if as_json else tell, serf=shutil.which("serf"), interrupts=interrupts)
        try:
            demo.run()
        except DemoFailed as failure:
            reason = str(failure)
    if as_json:
        click.echo(json.dumps({"ok": not reason, "reason": reason, "steps": demo.steps}))
    if reason:
        raise click.ClickException(f"the demo did not hold: {reason}")
