"""Serf's client RPC: what the `serf` command line, and other clients, speak to an agent.

Both directions are a plain concatenation of msgpack objects over TCP, without lengths and without TLS. A request is
a header `{Command, Seq}` and, for commands that have one, a body; the answer a header `{Seq, Error}` and perhaps a
body. Streaming commands go on with pairs of header and record under the request's Seq.

`layout` says how a structure is written and read; `protocol` has every structure there is; both are pure. `client`
speaks it over plain sockets. `server` listens, a `session` serves one connection, `streams` feed it with events,
log lines and answers to queries; `backend` is the agent as they see it, over a Node.
"""
