"""Nomad's RPC between agents, and the two roles that need it: the server that client nodes register with, and the
client that keeps a list of servers.

Pure, with `now` and a `random.Random` given: `framing` and `structures` (bytes), `registry` (who is registered here
and until when), `servers` (the client's list), `heartbeat` (when the client talks next), `pool` (servers as gossip
shows them). On trio: `server` and `endpoints` (the RPC port), `client` (calls), `forward` (other regions),
`client_role` (the client agent), `remote` (what the HTTP API asks of other servers).

There is no Raft, so each server keeps the client nodes that registered with it, and nobody else's. That is enough
because a client is always registered with one server: when that fails, the client notices and registers with the
next one, within its TTL.
"""
