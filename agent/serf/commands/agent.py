"""`moot serf agent`."""

import trio

from moot.agent.serf import config, flags
from moot.agent.serf.agent import SerfAgent
from moot.agent.serf.flags import Given
from moot.agent.serf.journal import Journal
from moot.agent.serf.line import Command, Failed
from moot.agent.serf.ui import Ui
from moot.gossip.errors import ConfigError

HELP = """
Usage: moot serf agent [FLAGS]

  Runs an agent, one member of a pool, until it is interrupted. Ctrl-C makes it leave the pool first.

Where it is:

  -node=NAME             Its name, different from all others [the host's name]
  -bind=IP[:PORT]        Where it listens for the pool; IPv6 as [::1] or [::1]:7946 [0.0.0.0:7946]
  -iface=NAME            A network interface: its address is bound, or -bind must be one of its addresses
  -advertise=IP[:PORT]   What the others are told instead
  -rpc-addr=IP:PORT      Where it listens for commands [127.0.0.1:7373]
  -rpc-auth=KEY          What clients must show there (Serf: rpc_auth in a file)
  -tag KEY=VALUE         A tag to announce; repeatable
  -tags-file=PATH        Where tags are kept that `tags` changes; then there is no -tag
  -role=NAME             An old form of -tag role=NAME

Joining:

  -join=ADDRESS          Join this at start, or end with an error; repeatable, one must answer
  -retry-join=ADDRESS    Join this in the background until it works; repeatable
  -retry-interval=TIME   Between attempts of that [30s]
  -retry-max=N           After so many retries end with an error; 0 is never [0]
  -replay                Take the user events that happened before a join
  -discover=NAME         Find the agents with this NAME by multicast DNS
  -snapshot=PATH         Remember the pool here, to find back after a restart
  -rejoin                With -snapshot: find back even after a leave

Security and behaviour:

  -encrypt=KEY           The gossip key in base64, from `moot serf keygen`
  -keyring-file=PATH     Gossip keys, kept up to date; then there is no -encrypt
  -profile=NAME          Timing: lan, wan or local [lan]
  -protocol=N            Version of Serf's protocol to speak, 3 to 5 [5]
  -broadcast-timeout=T   How long a leave or force-leave may take to spread [5s]
  -disable-compression   Never compress; that is the default here
  -event-handler=SPEC    A script to run: SCRIPT for all events, or FILTER=SCRIPT where FILTER has words such
                         as member-join, user:NAME, query:NAME, parted by commas; repeatable
  -log-level=LEVEL       trace, debug, info, warn or err [info]
  -syslog                Not done here; the log goes to stdout

Configuration in Serf's JSON:

  -config-file=PATH      A file; repeatable
  -config-dir=PATH       All *.json of a directory, by name; repeatable

SIGHUP reads the configuration again: log level, event handlers and tags take effect.
"""


def _run(given: Given, ui: Ui) -> int:
    try:
        settings = config.load(given)
    except ConfigError as error:
        raise Failed(str(error)) from None
    journal = Journal(ui, settings.log_level)
    for notice in settings.notices:
        journal.say(notice)
    journal.say("Starting Serf agent...")
    try:
        agent = SerfAgent(settings, journal, reread=lambda: config.load(given))
    except ConfigError as error:
        raise Failed(f"Failed to setup the Serf agent: {error}") from None
    return trio.run(agent.run)


def _flags() -> dict[str, flags.Flag]:
    return dict(config.FLAGS)


command = Command(HELP, _flags, _run, mark="==> ")
