"""RpcClient against a scripted agent on a real socket."""

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgpack
import pytest

from moot.agent.rpc import protocol
from moot.agent.rpc.client import RpcClient, RpcClosed, RpcError, split_address
from moot.agent.rpc.protocol import AnswerHeader, AnswerRecord, LogRecord, QueryRecord, UserRecord
from moot.gossip.pack import pack_typed

HELLO = protocol.ANSWER_HEADER.encode(AnswerHeader(1))


def head(seq: int, error: str = "") -> bytes:
    return protocol.ANSWER_HEADER.encode(AnswerHeader(seq, error))


def line(seq: int, text: str) -> bytes:
    return head(seq) + protocol.LOG_RECORD.encode(LogRecord(text))


def event(seq: int, name: str) -> bytes:
    return head(seq) + protocol.USER_RECORD.encode(UserRecord("user", 1, name, b"", False))


@contextmanager
def agent(*said: bytes, stays: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """An agent that says all this at once and hangs up, or stays silent; its address and what it heard."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as link:
                link.sendall(b"".join(said))
                if not stays:
                    link.shutdown(socket.SHUT_WR)
                while data := link.recv(65536):
                    heard.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            thread.join(10)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:7373", ("127.0.0.1", 7373)),
        ("[::1]:7373", ("::1", 7373)),
        ("localhost:1", ("localhost", 1)),
        (":7373", ("", 7373)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert split_address(text) == found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("localhost", "missing port"),
        ("::1:7373", "too many colons"),
        ("a:b", "invalid port"),
        ("a:65536", "invalid port"),
        ("a:", "invalid port"),
    ],
)
def test_what_is_no_address_is_refused_in_gos_words(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        split_address(text)


def test_nobody_there_is_an_os_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            RpcClient(f"127.0.0.1:{held.getsockname()[1]}")


def test_a_refused_handshake_or_key_is_an_rpc_error_and_closes_the_connection() -> None:
    with agent(head(1, "Unsupported IPC version")) as (address, _), pytest.raises(RpcError, match="Unsupported"):
        RpcClient(address)
    with (
        agent(HELLO, head(2, "Invalid authentication token")) as (address, _),
        pytest.raises(RpcError, match="token"),
    ):
        RpcClient(address, "wrong")


def test_with_a_key_the_client_authenticates_first() -> None:
    with agent(HELLO, head(2)) as (address, heard):
        RpcClient(address, "sekret").close()
    hello = protocol.encode_request("handshake", 1, protocol.Handshake())
    assert b"".join(heard) == hello + protocol.encode_request("auth", 2, protocol.Auth("sekret"))


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xc1",
        b"\x82\xa3Seq",
        b"\x82\xa3Seq\xff\xa5Error\xa0",
        b"\x82\xa3Seq\x63\xa5Error\xa0",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_an_agent_that_is_none_reads_as_a_closed_connection(junk: bytes) -> None:
    with agent(junk) as (address, _), pytest.raises(RpcClosed, match="client closed"):
        RpcClient(address)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (RpcClient.members, b"\x81\xa7Members\x91\x81\xa4Port\xce\x00\x01\x00\x00"),
        (RpcClient.members, b"\x81\xa7Members\xdd\xff\xff\xff\xff"),
        (RpcClient.members, b"\x91\x01"),
        (RpcClient.members, b"\x81\x01\x01"),
        (RpcClient.stats, b"\x81\xa5agent\x01"),
        (RpcClient.list_keys, b"\x81\xa4Keys\x91\x01"),
        (lambda client: client.join(["a"]), b"\x81\xa3Num\xa1x"),
        (lambda client: client.get_coordinate("a"), b"\x81\xa5Coord\x81\xa5Error\xcb\x7f\xf0" + bytes(6)),
    ],
)
def test_junk_in_an_answer_reads_as_a_closed_connection(call: Callable[[RpcClient], object], body: bytes) -> None:
    with agent(HELLO, head(2), body) as (address, _), RpcClient(address) as client, pytest.raises(RpcClosed):
        call(client)


def test_an_agent_that_hangs_up_instead_of_an_answer_is_a_closed_connection() -> None:
    with agent(HELLO) as (address, _), RpcClient(address) as client, pytest.raises(RpcClosed):
        client.members_filtered(name="[")


def test_an_error_is_raised_with_the_agents_text_after_its_body_was_read() -> None:
    nobody = protocol.JOINED.encode(protocol.Joined(0))
    with agent(HELLO, head(2, "1 error"), nobody, head(3)) as (address, _), RpcClient(address) as client:
        with pytest.raises(RpcError, match=r"^1 error$"):
            client.join(["a"])
        client.force_leave("b")


def test_an_authentication_error_has_no_body() -> None:
    said = [head(seq, "Authentication required") for seq in (2, 3, 4, 5)]
    with agent(HELLO, *said) as (address, _), RpcClient(address) as client:
        calls: list[Callable[[], object]] = [
            client.members,
            client.list_keys,
            lambda: client.event("x"),
            client.stats,
        ]
        for call in calls:
            with pytest.raises(RpcError, match="Authentication required"):
                call()


def test_a_long_list_of_members_is_read() -> None:
    one = {"Name": "n", "Addr": b"\x7f\0\0\1", "Port": 1, "Tags": {}, "Status": "alive"}
    body = b"\x81\xa7Members\xdc" + struct.pack(">H", 5000) + pack_typed(one) * 5000
    with agent(HELLO, head(2), body) as (address, _), RpcClient(address) as client:
        assert len(client.members()) == 5000


def test_an_answer_in_the_dialect_of_gossip_is_read_as_well() -> None:
    one = {"Name": "n" * 40, "Addr": b"\x7f\0\0\1", "Port": 1, "Tags": {"a": "b"}, "Status": "alive"}
    body = msgpack.packb({"Members": [one]}, use_bin_type=False)
    with agent(HELLO, head(2), body) as (address, _), RpcClient(address) as client:
        (member,) = client.members()
        assert (member.name, member.ip, member.tags) == ("n" * 40, b"\x7f\0\0\1", {"a": "b"})


# ---- streams


def test_records_that_come_before_an_answer_are_kept_for_their_readers() -> None:
    said = (HELLO, head(2), head(3), line(3, "a"), event(2, "e"), head(4), b"\x80", line(3, "b"))
    with agent(*said) as (address, _), RpcClient(address) as client:
        events, lines = client.stream("user"), client.monitor("debug")
        assert client.stats() == {}
        assert next(events) == UserRecord("user", 1, "e", b"", False)
        assert list(itertools.islice(lines, 2)) == ["a", "b"]


def test_watching_gives_events_and_lines_in_the_order_they_come() -> None:
    said = (HELLO, head(2), head(3), line(3, "a"), event(2, "e"), line(3, "b"))
    with agent(*said) as (address, _), RpcClient(address) as client:
        found = list(itertools.islice(client.watch(), 3))
        assert [type(record) for record in found] == [LogRecord, UserRecord, LogRecord]
        with pytest.raises(RpcClosed):
            next(client.watch())


def test_a_stopped_stream_ends_after_what_had_come() -> None:
    said = (HELLO, head(2), line(2, "a"), head(3), line(2, "late"), head(4), b"\x80")
    with agent(*said) as (address, _), RpcClient(address) as client:
        seq = client.start_monitor()
        client.stop(seq)
        assert [record for _, record in client.records(seq)] == [LogRecord("a")]
        assert client.stats() == {}


def test_a_query_ends_with_done_and_leaves_other_records_alone() -> None:
    def reply(kind: str, sender: str = "", payload: bytes = b"") -> bytes:
        return head(3) + protocol.ANSWER_RECORD.encode(AnswerRecord(kind, sender, payload))

    said = (HELLO, head(2), head(3), reply("ack", "a"), line(2, "l"), reply("response", "a", b"42"), reply("done"))
    with agent(*said) as (address, _), RpcClient(address) as client:
        lines = client.monitor()
        replies = list(client.query("load", timeout=1.5, tags={"role": "w"}))
        assert [(it.type, it.sender, it.payload) for it in replies] == [
            ("ack", "a", b""),
            ("response", "a", b"42"),
            ("done", "", b""),
        ]
        assert next(lines) == "l"


def test_a_query_in_a_stream_can_be_answered_in_between() -> None:
    asked = head(2) + protocol.QUERY_RECORD.encode(QueryRecord("query", 9, 3, "load", b"p"))
    with agent(HELLO, head(2), asked, event(2, "e"), head(3)) as (address, heard), RpcClient(address) as client:
        events = client.stream("query")
        query = next(events)
        assert isinstance(query, QueryRecord)
        client.respond(query.id, b"42")
        assert isinstance(next(events), UserRecord)
        client.close()
    assert b"".join(heard).endswith(protocol.encode_request("respond", 3, protocol.Respond(9, b"42")))


def test_an_agent_that_does_not_read_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve(done: threading.Event) -> None:
            with listener.accept()[0] as link:
                link.sendall(HELLO)
                done.wait(30)

        done = threading.Event()
        thread = threading.Thread(target=serve, args=(done,))
        thread.start()
        try:
            with RpcClient(f"127.0.0.1:{listener.getsockname()[1]}", timeout=0.3) as client, pytest.raises(RpcClosed):
                client.event("e", bytes(64 * 1024 * 1024))
        finally:
            done.set()
            thread.join(10)
