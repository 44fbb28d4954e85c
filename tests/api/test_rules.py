"""The rules around the handlers: routing, query, kept answers, odd names, what is shown of the agent."""

import gzip
import math
from dataclasses import replace

import pytest

from moot.gossip.serf.members import MemberStatus
from moot.http.exchange import BadEscape, HttpError, Query, split_target, unescape
from moot.http.nomad import multi_error
from moot.http.routes import check_query, clean_path
from moot.http.self_config import AgentSettings, build_config, duration_text
from tests.api.live import read_answer, serving_api
from tests.api.scripted import ScriptedBackend, identity, made, server_tags
from tests.api.scripted_nomad import ScriptedRemote
from tests.api.shapes import mismatch, part_mismatch, sample_mismatch
from tests.api.situations import client, pool, three, two_regions, with_header

SETTINGS = AgentSettings(
    http_advertise="127.0.0.1:4646",
    rpc_advertise="127.0.0.1:4647",
    serf_advertise="127.0.0.1:4648",
    server_enabled=True,
    version="0.5.5",
)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/v1/agent/members", "/v1/agent/members"),
        ("/v1/agent/members/", "/v1/agent/members/"),
        ("//evil.example/x", "/evil.example/x"),
        ("/v1/./agent/../agent//self/", "/v1/agent/self/"),
        ("/../../etc", "/etc"),
        ("", "/"),
    ],
)
def test_paths_are_cleaned(path: str, clean: str) -> None:
    assert clean_path(path) == clean


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/a?b=c?d", ("/a", "b=c?d")),
        ("http://h:1/a?b", ("/a", "b")),
        ("HTTPS://h", ("/", "")),
        ("http://h?x=/y", ("/", "x=/y")),
        ("*", ("*", "")),
        ("h:443", ("h:443", "")),
    ],
)
def test_targets_are_split(target: str, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_escapes_become_text_and_odd_bytes_survive() -> None:
    assert unescape("a%20b%C3%A4") == "a bä"
    assert unescape("%ff") == "\udcff"
    for bad in ("%", "%4", "%zz", "a%+1"):
        with pytest.raises(BadEscape):
            unescape(bad)


def test_a_query_is_read_as_go_reads_it() -> None:
    query = Query("a=1&a=2+3&b&&c=%3D%26&bad=%zz&x;y=1&=empty")
    assert query.all("a") == ["1", "2 3"]
    assert query.first("a") == "1"
    assert "b" in query
    assert query.first("b") == ""
    assert query.first("c") == "=&"
    assert "bad" not in query
    assert "x;y" not in query
    assert query.first("") == "empty"
    assert query.all("missing") == []


@pytest.mark.parametrize("text", ["5s", "100ms", "1m30s", "0", "-1h", ".5s", "1.5h2m", "3µs", "1h0m0.5s"])
def test_go_durations_are_taken(text: str) -> None:
    assert check_query(Query(f"wait={text}")) is False


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("wait=xx", "Invalid wait time"),
        ("wait=5", "Invalid wait time"),
        ("wait=00", "Invalid wait time"),
        ("wait=1s%20", "Invalid wait time"),
        ("index=-1", "Invalid index"),
        ("index=18446744073709551616", "Invalid index"),
        ("index=%D9%A3", "Invalid index"),
        ("stale=yes", "Expect `true` or `false` for `stale` query string parameter"),
        ("per_page=x", "Expect a number for `per_page` query string parameter"),
        ("per_page=2147483648", "Expect a number for `per_page` query string parameter"),
    ],
)
def test_malformed_common_parameters_are_refused(query: str, text: str) -> None:
    with pytest.raises(HttpError) as caught:
        check_query(Query(query))
    assert (caught.value.status, caught.value.text) == (400, text)


def test_well_formed_common_parameters_change_nothing_but_stale() -> None:
    assert check_query(Query("index=18446744073709551615&wait=&per_page=-1&index=")) is False
    assert check_query(Query("stale")) is True
    assert check_query(Query("stale=true")) is True
    assert check_query(Query("stale=false")) is False


async def test_leave_is_guarded_and_answers_when_done() -> None:
    backend = pool()
    async with serving_api(backend) as live:
        foreign = await live.ask("PUT", "/v1/moot/leave", [("Origin", "http://evil.example")])
        assert (foreign.status, backend.left) == (403, False)
        assert (await live.ask("GET", "/v1/moot/leave")).status == 405
        answer = await live.ask("PUT", "/v1/moot/leave")
        assert answer.json() == {"gossip_name": "s1.global"}
        assert backend.left
        again = await live.ask("POST", "/v1/moot/leave")
        assert (again.status, again.text) == (500, "the agent has left the pool already")
        joined = await live.ask("PUT", "/v1/agent/join?address=127.0.0.3")
        assert joined.json() == {"error": "Serf can't Join after Leave or Shutdown", "num_joined": 0}


async def test_the_agent_in_short_counts_members_by_status() -> None:
    async with serving_api(three(MemberStatus.FAILED)) as live:
        found = (await live.ask("GET", "/v1/moot/agent")).json()
    assert found["members"] == {"alive": 2, "failed": 1}
    assert found["gossip_name"] == "s1.global"
    assert (found["name"], found["pool"], found["pid"], found["uptime"]) == ("s1", "nomad", 4711, 12.346)


async def test_the_agent_in_short_shows_what_its_http_server_counted() -> None:
    async with serving_api(pool()) as live:
        await live.ask("GET", "/v1/regions")
        async with await live.connect() as stream:
            await stream.send_all(b"junk\r\n\r\n")
            assert (await read_answer(stream)).status == 400
        counted = (await live.ask("GET", "/v1/moot/agent")).json()["http"]
    assert counted == {
        "bad_requests": 1,
        "connections": 3,
        "connections_refused": 0,
        "connections_shed": 0,
        "faults": 0,
        "handshakes_failed": 0,
        "requests": 2,
        "timeouts": 0,
    }


@pytest.mark.parametrize(
    "settings", [replace(SETTINGS, retry_interval=math.inf), replace(SETTINGS, retry_interval=math.nan)]
)
async def test_a_setting_that_cannot_be_shown_costs_one_request_and_one_report(settings: AgentSettings) -> None:
    backend = pool()
    backend.settings = settings
    async with serving_api(backend) as live:
        for _ in range(3):
            answer = await live.ask("GET", "/v1/agent/self")
            assert (answer.status, answer.text) == (500, "internal error")
        assert (await live.ask("GET", "/v1/regions")).status == 200
        assert [what for what, _ in live.bugs] == ["GET /v1/agent/self"]
        live.bugs.clear()


async def test_the_page_names_the_agent_and_escapes_it() -> None:
    backend = ScriptedBackend(identity("<s1>"), [])
    async with serving_api(backend) as live:
        below = await live.ask("GET", "/ui/any/thing")
        assert below.headers["content-type"] == "text/html; charset=utf-8"
        assert "&lt;s1&gt;.global" in below.text
        redirected = await live.ask("GET", "/ui")
        assert (redirected.status, redirected.headers["location"]) == (301, "/ui/")


async def test_redirects_keep_the_query_and_link_to_the_new_place() -> None:
    async with serving_api(with_header()) as live:
        answer = await live.ask("GET", "//v1//agent/./members?a=1&b=2")
        assert answer.headers["location"] == "/v1/agent/members?a=1&b=2"
        assert answer.text == '<a href="/v1/agent/members?a=1&amp;b=2">Moved Permanently</a>.\n\n'
        assert "x-custom-one" not in answer.headers
        moved = await live.ask("PUT", "/?x=1")
        assert (moved.status, moved.headers["location"], moved.body) == (307, "/ui/?x=1", b"")
        assert "content-type" not in moved.headers
        outside = await live.ask("GET", "//evil.example/%2e%2e/%0d%0ax")
        assert outside.headers["location"] == "/%0D%0Ax"
        assert (await live.ask("GET", "/%zz")).status == 400


async def test_every_answer_says_that_it_varies_with_the_encoding() -> None:
    async with serving_api(pool()) as live:
        for path in ("/", "//", "/nope", "/%zz", "/v1/agent/join", "/v1/regions", "/v1/agent/force-leave?node=x"):
            assert (await live.ask("GET", path)).headers["vary"] == "Accept-Encoding", path


async def test_the_member_list_is_kept_until_it_changes() -> None:
    backend = three()
    async with serving_api(backend) as live:
        first = await live.ask("GET", "/v1/agent/members")
        calls = backend.members_calls
        packed = await live.ask("GET", "/v1/agent/members", [("Accept-Encoding", "gzip")])
        assert gzip.decompress(packed.body) == first.body
        assert (await live.ask("GET", "/v1/agent/members")).body == first.body
        assert backend.members_calls == calls
        backend.set_status("s3.global", MemberStatus.FAILED)
        changed = await live.ask("GET", "/v1/agent/members")
        assert [it["Status"] for it in changed.json()["Members"]] == ["alive", "alive", "failed"]
        indented = (await live.ask("GET", "/v1/agent/members?pretty")).text
        assert indented.startswith('{\n    "Members": [\n        {\n            "Addr": "127.0.0.2",\n')


async def test_names_and_tags_that_are_no_utf8_still_give_json() -> None:
    odd = made("caf\udce9.global", "127.0.0.9", server_tags(note="\udcff\udcfe"))
    async with serving_api(pool(odd)) as live:
        member = (await live.ask("GET", "/v1/agent/members")).json()["Members"][0]
        assert member["Name"] == "caf\ufffd.global"
        assert member["Tags"]["note"] == "\ufffd\ufffd"
        backend_sees = await live.ask("PUT", "/v1/agent/force-leave?node=caf%E9.global")
        assert backend_sees.status == 200


async def test_force_leave_hands_on_the_exact_name_and_prune() -> None:
    backend = pool()
    async with serving_api(backend) as live:
        await live.ask("PUT", "/v1/agent/force-leave?node=a%20b+c%E9.global&prune=T")
        assert backend.calls == [("force_leave", "a b c\udce9.global", True)]
        backend.broadcast_fails = True
        answer = await live.ask("PUT", "/v1/agent/force-leave?node=x")
        assert (answer.status, answer.text) == (500, "timed out broadcasting node removal")


async def test_the_leader_is_the_lowest_alive_name_and_moves_when_it_fails() -> None:
    backend = three()
    async with serving_api(backend, leader_wait=0) as live:
        for name, leader in (("s1.global", "127.0.0.2"), ("s2.global", "127.0.0.3"), ("s3.global", "127.0.0.4")):
            assert (await live.ask("GET", "/v1/status/leader")).json() == f"{leader}:4647"
            backend.set_status(name, MemberStatus.FAILED)
        answer = await live.ask("GET", "/v1/status/leader")
        assert (answer.status, answer.text) == (500, "No cluster leader")
        assert (await live.ask("GET", "/v1/status/peers?stale")).json() == [
            "127.0.0.2:4647",
            "127.0.0.3:4647",
            "127.0.0.4:4647",
        ]


async def test_other_regions_are_asked_when_there_is_rpc() -> None:
    backend = two_regions()
    backend.remote = ScriptedRemote(leaders={"eu": "127.0.0.9:4647"})
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/status/leader?region=eu")).json() == "127.0.0.9:4647"
        assert (await live.ask("GET", "/v1/status/peers?region=eu&stale")).json() == ["127.0.0.9:4647"]
        assert (await live.ask("GET", "/v1/status/leader?region=nope")).text == "No path to region"
        healthy = await live.ask("GET", "/v1/agent/health?region=eu")
        assert (healthy.status, healthy.json()) == (200, {"server": {"message": "ok", "ok": True}})
        sick = await live.ask("GET", "/v1/agent/health?region=nope")
        assert (sick.status, sick.json()) == (500, {"server": {"message": "No path to region", "ok": False}})
        asked = list(backend.remote.asked)
        assert (await live.ask("GET", "/v1/status/leader?region=global")).json() == "127.0.0.2:4647"
        assert backend.remote.asked == asked


async def test_without_rpc_other_regions_are_answered_from_gossip() -> None:
    async with serving_api(two_regions()) as live:
        assert (await live.ask("GET", "/v1/status/peers?region=eu")).json() == ["127.0.0.4:4647"]
        assert (await live.ask("GET", "/v1/agent/health?region=eu")).status == 200
        assert (await live.ask("GET", "/v1/status/peers?region=nope")).text == "No path to region"


@pytest.mark.parametrize(
    "broken",
    [
        {"role": "x"},
        {"port": ""},
        {"port": "46x"},
        {"build": "one"},
        {"expect": "x"},
        {"raft_vsn": ""},
        {"vsn": "1.0"},
    ],
)
async def test_a_member_without_the_tags_of_a_server_is_no_peer(broken: dict[str, str]) -> None:
    async with serving_api(pool(made("a.global", "127.0.0.9", server_tags() | broken))) as live:
        assert (await live.ask("GET", "/v1/status/peers")).json() == ["127.0.0.2:4647"]
        assert len((await live.ask("GET", "/v1/agent/members")).json()["Members"]) == 2


@pytest.mark.parametrize("build", ["0.5.5dev", "1.1.2", "v1.2.3-rc1", "1.9.0+ent", "2", "1.2.3-beta.1+x"])
async def test_versions_that_servers_announce_are_taken(build: str) -> None:
    async with serving_api(pool(made("a.global", "127.0.0.9", server_tags(build=build)))) as live:
        assert len((await live.ask("GET", "/v1/status/peers")).json()) == 2


async def test_in_a_serf_pool_every_member_counts_and_the_region_is_the_agents() -> None:
    members = [made("b", "127.0.0.3", {}, port=7946), made("a", "127.0.0.4", {"port": "99", "region": "eu"})]
    backend = ScriptedBackend(identity("b", pool="serf"), members)
    async with serving_api(backend) as live:
        listed = (await live.ask("GET", "/v1/agent/members")).json()
        assert (listed["ServerName"], listed["ServerRegion"], listed["ServerDC"]) == ("b", "global", "dc1")
        assert [it["Name"] for it in listed["Members"]] == ["a", "b"]
        assert (await live.ask("GET", "/v1/regions")).json() == ["eu", "global"]
        assert (await live.ask("GET", "/v1/status/leader")).json() == "127.0.0.3:7946"
        assert (await live.ask("GET", "/v1/status/leader?region=eu")).json() == "127.0.0.4:99"
        assert (await live.ask("GET", "/v1/agent/health")).status == 200


async def test_ipv6_members_stand_in_brackets_where_a_port_follows() -> None:
    backend = ScriptedBackend(identity("s1"), [made("s1.global", "::1")])
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/status/leader")).json() == "[::1]:4647"
        assert (await live.ask("GET", "/v1/agent/members")).json()["Members"][0]["Addr"] == "::1"


PASSED_ON = ("/v1/agent/members", "/v1/status/leader", "/v1/status/peers", "/v1/regions")


async def test_an_agent_outside_the_pool_asks_its_servers() -> None:
    backend = client("127.0.0.2:4647")
    assert backend.remote is not None
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/agent/members")).json()["ServerName"] == "s1"
        assert (await live.ask("GET", "/v1/status/leader?stale")).json() == "127.0.0.2:4647"
        assert (await live.ask("GET", "/v1/status/peers")).json() == ["127.0.0.2:4647"]
        assert (await live.ask("GET", "/v1/regions")).json() == ["global"]
        assert (await live.ask("GET", "/v1/status/leader?region=eu")).text == "No path to region"
        assert ("leader", "global", True) in backend.remote.asked
        backend.remote.failure = "rpc error: EOF"
        for path in PASSED_ON:
            answer = await live.ask("GET", path)
            assert (answer.status, answer.text) == (500, "rpc error: EOF")


async def test_an_agent_outside_the_pool_without_servers_has_no_view_of_it() -> None:
    for backend in (client(), ScriptedBackend(identity("c1", is_server=False))):
        async with serving_api(backend) as live:
            for path in PASSED_ON:
                answer = await live.ask("GET", path)
                assert (answer.status, answer.text) == (500, "no servers")


async def test_an_agent_outside_the_pool_does_nothing_that_needs_one() -> None:
    async with serving_api(client("127.0.0.2:4647")) as live:
        assert (await live.ask("GET", "/v1/moot/tags")).status == 501
        assert (await live.ask("GET", "/v1/moot/agent")).json()["members"] == {}
        assert (await live.ask("PUT", "/v1/moot/leave")).json() == {"gossip_name": "c1.global"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (30, "30s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (0.5, "500ms"),
        (70.977e-6, "70.977µs"),
        (0, "0s"),
        (10.107423052, "10.107423052s"),
        (-1.5, "-1.5s"),
        (1e-9, "1ns"),
        (86_400, "24h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_configuration_shows_what_was_set() -> None:
    config = build_config(
        AgentSettings(
            http_advertise="10.0.0.1:80",
            rpc_advertise="10.0.0.1:81",
            serf_advertise="10.0.0.1:82",
            http_bind="127.0.0.1",
            http_port=80,
            server_enabled=True,
            client_node_class="ssd",
            client_state_dir="/var/c",
            client_meta={"rack": "7"},
            retry_join=["a", "b"],
            retry_interval=90,
            files=["/etc/a.hcl"],
            version="9.9.9",
        )
    )
    assert not part_mismatch(
        {
            "Addresses": {"HTTP": "127.0.0.1", "RPC": "0.0.0.0"},
            "AdvertiseAddrs": {"Serf": "10.0.0.1:82"},
            "Ports": {"HTTP": 80, "RPC": 4647},
            "Server": {"Enabled": True, "RetryJoin": ["a", "b"], "RetryInterval": "1m30s", "StartJoin": []},
            "Client": {"Enabled": False, "Servers": None, "GCInterval": 60_000_000_000, "NodeClass": "ssd"},
            "Files": ["/etc/a.hcl"],
            "Version": "9.9.9",
        },
        config,
    )
    assert not part_mismatch({"Client": {"StateDir": "/var/c", "Meta": {"rack": "7"}}}, config)


def test_several_errors_become_one_text() -> None:
    assert multi_error(["X"]) == "1 error occurred:\n\t* X\n\n"
    assert multi_error(["X", "Y"]) == "2 errors occurred:\n\t* X\n\t* Y\n\n"


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ({"a": "<string>"}, {"a": 1}),
        ({"a": "<string>"}, {"a": "x", "b": 1}),
        ({"a": "<string>"}, {}),
        ({"*": "<intstr>"}, {"a": "x"}),
        (["+", "<any>"], []),
        (["*", "<string>"], ["a", 1]),
        (["set", "a", "b"], ["a", "a"]),
        (["set", "a"], ["a", "b"]),
        (["a", "b"], ["b", "a"]),
        ("<port>", 65_536),
        ("<uint8>", True),
        ("<bool>", 1),
        ("<enum:a,b>", "c"),
        ("<regex:^x>", "yx"),
        ("<duration>", "10"),
        (1, True),
        (None, 0),
    ],
)
def test_the_shape_check_finds_what_does_not_fit(shape: object, value: object) -> None:
    assert mismatch(shape, value)


def test_the_checks_of_samples_and_parts_find_what_is_missing() -> None:
    assert sample_mismatch({"a": {"b": 1}}, {"a": {}})
    assert sample_mismatch({"a": [1]}, {"a": ["x"]})
    assert sample_mismatch({"a": True}, {"a": 1})
    assert not sample_mismatch({"a": None, "b": 1}, {"a": 5, "b": 2})
    assert part_mismatch({"a": {"b": 1}}, {"a": {"b": 2}})
    assert part_mismatch({"a": 1}, [])
    assert not part_mismatch({"a": 1}, {"a": 1, "b": 2})
