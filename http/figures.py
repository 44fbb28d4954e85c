"""The figures that agents count, by their names for Nomad's metrics and for Prometheus. One table for both."""

from typing import NamedTuple


class Row(NamedTuple):
    """One counter. An amount grows by any number, the others by one at a time."""

    field: str
    """In `gossip.counters.Counters` or `http.counters.HttpCounters`."""
    nomad: str
    prometheus: str = ""
    """With the unit, and without `_total`."""
    help: str = ""
    is_amount: bool = False


GOSSIP = (
    Row(
        "packets_in", "nomad.memberlist.udp.packets_received", "moot_gossip_received_packets", "UDP packets received."
    ),
    Row("packets_out", "nomad.memberlist.udp.packets_sent", "moot_gossip_sent_packets", "UDP packets sent."),
    Row("bytes_in", "nomad.memberlist.udp.received", "moot_gossip_received_bytes", "Bytes received by UDP.", True),
    Row("bytes_out", "nomad.memberlist.udp.sent", "moot_gossip_sent_bytes", "Bytes sent by UDP.", True),
    Row(
        "dropped_out",
        "nomad.memberlist.udp.dropped",
        "moot_gossip_dropped_packets",
        "Packets not sent because the kernel's buffer was full.",
    ),
    Row(
        "streams_in",
        "nomad.memberlist.tcp.accept",
        "moot_gossip_accepted_streams",
        "TCP connections that peers opened.",
    ),
    Row(
        "streams_out",
        "nomad.memberlist.tcp.connect",
        "moot_gossip_opened_streams",
        "TCP connections opened to peers.",
    ),
    Row(
        "streams_refused",
        "nomad.memberlist.tcp.refused",
        "moot_gossip_refused_streams",
        "Connections of peers closed because too many were open.",
    ),
    Row(
        "streams_broken",
        "nomad.memberlist.tcp.broken",
        "moot_gossip_broken_streams",
        "Connections of peers that stalled or vanished.",
    ),
    Row("probes", "nomad.memberlist.probe", "moot_gossip_probes", "Members probed."),
    Row("probes_failed", "nomad.memberlist.probe.failed", "moot_gossip_failed_probes", "Probes without an answer."),
    Row("suspicions", "nomad.memberlist.suspicion", "moot_gossip_suspicions", "Times a member was suspected."),
    Row(
        "refutations",
        "nomad.memberlist.refutation",
        "moot_gossip_refutations",
        "Times this agent contradicted what was said of it.",
    ),
    Row("gossip_rounds", "nomad.memberlist.gossip", "moot_gossip_rounds", "Rounds of gossip with something to say."),
    Row("push_pulls", "nomad.memberlist.push_pull", "moot_gossip_push_pulls", "Full exchanges of state with a peer."),
    Row(
        "guard_refusals",
        "nomad.serf.merge.refused",
        "moot_gossip_refused_merges",
        "Exchanges refused because of whom the other side knows.",
    ),
    Row(
        "replies_withheld",
        "nomad.serf.replies.withheld",
        "moot_gossip_withheld_replies",
        "Replies not sent because queries asked for too many.",
    ),
    Row(
        "events_lost",
        "nomad.serf.events.lost",
        "moot_lost_events",
        "Events that parts of the agent were too slow to take.",
    ),
)

BY_KIND = (
    (Row("refused", "nomad.memberlist.refused", "moot_gossip_refused_messages", "Junk thrown away."), "kind"),
    (
        Row("unsent", "nomad.memberlist.udp.unsent", "moot_gossip_unsent_packets", "Packets the kernel refused."),
        "errno",
    ),
    (
        Row(
            "unknown_messages",
            "nomad.serf.unknown_messages",
            "moot_gossip_unknown_messages",
            "Messages of types not known here.",
        ),
        "type",
    ),
)
"""Counters by kind, and the label that says which."""

HTTP = (
    Row("connections", "nomad.http.connections", "moot_http_connections", "Connections accepted."),
    Row(
        "connections_refused",
        "nomad.http.connections.refused",
        "moot_http_refused_connections",
        "Connections turned away because too many were open.",
    ),
    Row(
        "connections_shed",
        "nomad.http.connections.shed",
        "moot_http_shed_connections",
        "Idle connections ended to make room.",
    ),
    Row(
        "handshakes_failed",
        "nomad.http.handshakes.failed",
        "moot_http_failed_handshakes",
        "TLS handshakes that came to no agreement.",
    ),
    Row("requests", "nomad.http.requests", "moot_http_requests", "Requests read whole."),
    Row("bad_requests", "nomad.http.requests.bad", "moot_http_bad_requests", "Requests that broke HTTP or a limit."),
    Row("timeouts", "nomad.http.timeouts", "moot_http_timeouts", "Clients that were too slow."),
    Row("faults", "nomad.http.faults", "moot_http_faults", "Requests that ended in a bug of the agent's."),
)
