"""The figures that agents count, by their names for Nomad's metrics and for Prometheus. One table for both."""

from typing import NamedTuple


class Row(NamedTuple):
    """One counter. An amount grows by any number, the others by one at a time."""

    field: str
    """In the object that the row's group is about."""
    nomad: str
    prometheus: str
    """With the unit, and without `_total`."""
    help: str
    is_amount: bool = False
    label: str = ""
    """For counters by kind: the label that says which. There are few kinds of each, whatever peers send."""


class Group(NamedTuple):
    """The counters of one object: `counters`, `rpc` or `ipc` of `Figures`, or the server's own, `http`."""

    source: str
    rows: tuple[Row, ...]


GOSSIP = Group(
    "counters",
    (
        Row(
            "packets_in",
            "nomad.memberlist.udp.packets_received",
            "moot_gossip_received_packets",
            "UDP packets received.",
        ),
        Row("packets_out", "nomad.memberlist.udp.packets_sent", "moot_gossip_sent_packets", "UDP packets sent."),
        Row(
            "bytes_in", "nomad.memberlist.udp.received", "moot_gossip_received_bytes", "Bytes received by UDP.", True
        ),
        Row("bytes_out", "nomad.memberlist.udp.sent", "moot_gossip_sent_bytes", "Bytes sent by UDP.", True),
        Row(
            "messages_in",
            "nomad.memberlist.msg.received",
            "moot_gossip_received_messages",
            "Messages received in packets and streams, by type.",
            label="type",
        ),
        Row(
            "messages_out",
            "nomad.memberlist.msg.sent",
            "moot_gossip_sent_messages",
            "Messages sent in packets and streams, by type.",
            label="type",
        ),
        Row(
            "dropped_out",
            "nomad.memberlist.udp.dropped",
            "moot_gossip_dropped_packets",
            "Packets not sent because the kernel's buffer was full.",
        ),
        Row(
            "unsent",
            "nomad.memberlist.udp.unsent",
            "moot_gossip_unsent_packets",
            "Packets the kernel refused, or reported as undeliverable, by its error.",
            label="errno",
        ),
        Row(
            "refused",
            "nomad.memberlist.refused",
            "moot_gossip_refused_messages",
            "Junk thrown away, by what was wrong with it.",
            label="kind",
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
            "TCP exchanges begun with peers.",
        ),
        Row(
            "streams_failed",
            "nomad.memberlist.tcp.failed",
            "moot_gossip_failed_streams",
            "TCP exchanges begun with peers that came to nothing.",
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
        Row(
            "probes_failed", "nomad.memberlist.probe.failed", "moot_gossip_failed_probes", "Probes without an answer."
        ),
        Row("suspicions", "nomad.memberlist.suspicion", "moot_gossip_suspicions", "Times a member was suspected."),
        Row(
            "refutations",
            "nomad.memberlist.refutation",
            "moot_gossip_refutations",
            "Times this agent contradicted what was said of it.",
        ),
        Row("flaps", "nomad.serf.member.flap", "moot_member_flaps", "Members that came back soon after they failed."),
        Row(
            "gossip_rounds",
            "nomad.memberlist.gossip",
            "moot_gossip_rounds",
            "Rounds of gossip with something to say.",
        ),
        Row(
            "push_pulls",
            "nomad.memberlist.push_pull",
            "moot_gossip_push_pulls",
            "Full exchanges of state with a peer.",
        ),
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
            "unknown_messages",
            "nomad.serf.unknown_messages",
            "moot_gossip_unknown_messages",
            "Messages of types not known here.",
            label="type",
        ),
        Row(
            "events_lost",
            "nomad.serf.events.lost",
            "moot_lost_events",
            "Events that parts of the agent were too slow to take.",
        ),
    ),
)
HTTP = Group(
    "http",
    (
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
        Row(
            "bad_requests",
            "nomad.http.requests.bad",
            "moot_http_bad_requests",
            "Requests that broke HTTP or a limit.",
        ),
        Row("timeouts", "nomad.http.timeouts", "moot_http_timeouts", "Clients that were too slow."),
        Row("faults", "nomad.http.faults", "moot_http_faults", "Requests that ended in a bug of the agent's."),
    ),
)


def _calls(source: str, server: str, label: str) -> Group:
    """The counters of a server of calls."""
    return Group(
        source,
        (
            Row(
                "connections",
                f"nomad.{source}.accept_conn",
                f"moot_{source}_connections",
                f"Connections accepted by {server}.",
            ),
            Row(
                "connections_refused",
                f"nomad.{source}.refused_conn",
                f"moot_{source}_refused_connections",
                f"Connections that {server} turned away or hung up on.",
            ),
            Row(
                "requests",
                f"nomad.{source}.request",
                f"moot_{source}_requests",
                f"Calls of {server}, by {label}.",
                label=label,
            ),
            Row(
                "errors",
                f"nomad.{source}.request_error",
                f"moot_{source}_failed_requests",
                f"Calls of {server} answered with an error, by {label}.",
                label=label,
            ),
        ),
    )


GROUPS = (GOSSIP, HTTP, _calls("rpc", "the RPC port", "method"), _calls("ipc", "Serf's client RPC", "command"))
