"""`moot serf`: the command line of Serf, in place of the `serf` binary.

`line` finds the subcommand as Serf's own command line does, `flags` reads flags as Go's flag package does, and
`commands` holds one module per subcommand, with a help of our own. All but `agent` speak the client RPC to an agent,
ours or a real one. `agent` runs one of ours: `config` makes its settings from flags and Serf's JSON files, `journal`
writes its log in Serf's form. What scripts read is the same to the byte; what is only said to people is not.
"""
