"""The subcommands of `moot serf`, a module each; its `command` is a `moot.agent.serf.line.Command`."""
