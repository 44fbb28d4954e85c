"""Serf's client RPC: what the `serf` command line, and other clients, speak to an agent.

Both directions are a plain concatenation of msgpack objects over TCP, without lengths and without TLS. A request is
a header `{Command, Seq}` and, for commands that have one, a body; the answer a header `{Seq, Error}` and perhaps a
body. Streaming commands go on with pairs of header and record under the request's Seq.

Pure: `layout` says how a structure is written and read, `protocol` has every structure there is, `scanner` cuts
whole objects out of what a client sends. `client` speaks it over a plain socket. For an agent `server` listens, a
`session` serves one client over its `connection`, and `streams` sends it events, log lines and answers to queries;
`contract` is what they need of the agent, `backend` gives it over a Node, and `log_ring` keeps its last log lines.
"""
