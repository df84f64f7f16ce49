"""What the stock python-socketio clients must see. Each function is one behaviour; it gets a `Scene`.

python-socketio starts one thread or task per received message, so the client itself gives no order to received events:
where several arrive in a row the sets are compared. The order in which the server hears events is compared exactly.
Over polling it refuses a response of more than sixteen packets, so no behaviour makes the server owe it more at once.
"""

import asyncio
import uuid

import socketio

BEHAVIOURS = []


def behaviour(function=None, *, profile="default", only=None):
    def register(function):
        BEHAVIOURS.append((function, profile, only))
        return function

    return register(function) if function else register


class Scene:
    """One behaviour's clients, all of one kind, on one transport."""

    def __init__(self, driver, transports, urls, profile):
        self.driver = driver
        self.transports = transports
        self.urls = urls
        self.url = urls[profile]
        self.open = []

    def name(self, prefix="room"):
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    def fresh(self):
        return f"/dyn-{uuid.uuid4().hex[:12]}"

    def client(self, namespaces=("/",), **options):
        client = self.driver(namespaces, **options)
        self.open.append(client)
        return client

    async def join(self, client, *, namespaces=None, auth=None, url=None, **options):
        await client.connect(
            url or self.url, namespaces=namespaces, auth=auth, transports=self.transports, wait_timeout=5, **options
        )

    async def connect(self, namespace="/", auth=None, driver_options=None, **options):
        client = self.client((namespace,), **(driver_options or {}))
        await self.join(client, namespaces=[namespace], auth=auth, **options)
        return client

    async def group(self, count, namespace="/"):
        return await asyncio.gather(*(self.connect(namespace) for _ in range(count)))

    async def marker(self, client, namespace="/"):
        """Everything the server sent to `client` before now has reached its handlers, as far as the client keeps order."""
        tag = uuid.uuid4().hex
        await client.emit("emit", tag, namespace=namespace)
        await client.event(tag, namespace=namespace)

    async def close(self):
        for client in self.open:
            await client.shutdown()


async def refused(scene, client, **options):
    try:
        await scene.join(client, **options)
    except socketio.exceptions.ConnectionError:
        return
    raise AssertionError("the connection was accepted")


def send(client, **options):
    namespace = options.pop("namespace", "/")
    return client.call("broadcast", {"args": [], "event": "news", **options}, namespace=namespace)


async def reaches(scene, clients, sender, expected, namespace="/", **options):
    await send(clients[sender], args=["x"], namespace=namespace, **options)
    await asyncio.gather(*(scene.marker(client, namespace) for client in clients))
    assert [len(client.seen("news", namespace)) for client in clients] == expected
    for client in clients:
        assert all(args == ("x",) for args in client.seen("news", namespace))


# --- connecting


@behaviour
async def connects_with_an_id(scene):
    client = await scene.connect()
    assert len(client.id()) == 20
    assert client.connected


@behaviour
async def both_sides_agree_on_the_id(scene):
    client = await scene.connect()
    assert (await client.call("handshake"))["id"] == client.id()


@behaviour
async def the_transport_is_the_one_asked_for(scene):
    client = await scene.connect()
    assert client.transport() == ("polling" if scene.transports == ["polling"] else "websocket")


@behaviour
async def auth_reaches_the_server(scene):
    auth = {"token": "abc", "nested": {"list": [1, None, "🦀"]}}
    client = await scene.connect(auth=auth)
    assert (await client.call("handshake"))["auth"] == auth


@behaviour
async def auth_may_be_a_function(scene):
    client = await scene.connect(auth=lambda: {"from": "function"})
    assert (await client.call("handshake"))["auth"] == {"from": "function"}


@behaviour
async def query_and_headers_reach_the_server(scene):
    client = scene.client()
    await scene.join(client, url=f"{scene.url}/?colour=dark%20green", headers={"X-Test": "seen"})
    handshake = await client.call("handshake")
    assert handshake["query"]["colour"] == "dark green"
    assert handshake["header"] == "seen"


@behaviour
async def a_refusal_has_its_message(scene):
    client = scene.client()
    await refused(scene, client, auth={"refuse": {"message": "not you"}})
    assert await client.event("connect_error") == ({"message": "not you"},)
    assert not client.connected


@behaviour
async def a_refusal_has_its_data(scene):
    client = scene.client()
    data = {"code": "expired", "at": [1, 2]}
    await refused(scene, client, auth={"refuse": {"message": "no", "data": data}})
    assert await client.event("connect_error") == ({"message": "no", "data": data},)


@behaviour
async def an_unknown_namespace_is_refused(scene):
    client = scene.client(("/nowhere",))
    await refused(scene, client, namespaces=["/nowhere"])
    assert await client.event("connect_error", namespace="/nowhere") == ({"message": "Invalid namespace"},)


@behaviour
async def a_second_try_succeeds(scene):
    client = scene.client()
    await refused(scene, client, auth={"refuse": {"message": "no"}})
    await client.shutdown()
    await scene.join(client)
    assert await client.call("echo", 1) == 1


@behaviour
async def a_slow_middleware_only_delays(scene):
    client = await scene.connect(auth={"delay": 100})
    assert await client.call("echo", 1) == 1


@behaviour
async def rooms_joined_by_the_middleware_hold(scene):
    room = scene.name()
    client = await scene.connect(auth={"join": [room]})
    assert (await client.call("rooms"))["rooms"] == sorted([room, client.id()])


@behaviour
async def ten_clients_at_once(scene):
    clients = await scene.group(10)
    assert len({client.id() for client in clients}) == 10
    assert await asyncio.gather(*(client.call("echo", n) for n, client in enumerate(clients))) == list(range(10))


# --- values


async def echoes(client, value):
    assert await client.call("echo", value) == value, value
    await client.emit("echo", value)
    assert await client.event("echo", count=len(client.seen("echo")) or 1)
    await client.until(lambda: client.seen("echo")[-1] == (value,), f"echo of {value!r:.50}")


@behaviour
async def text_returns_unchanged(scene):
    client = await scene.connect()
    for value in ["", "hello", "žluťoučký — 日本語 🦀", '"\\\b\n\t\x00\x1e\u2028', "42[1]\x1e1"]:
        await echoes(client, value)


@behaviour
async def numbers_return_unchanged(scene):
    client = await scene.connect()
    await echoes(client, [0, 1, -1, 255, 65536, 2**31, 2**53 - 1, -(2**53) + 1, 0.1, -2.5, 1e-7])


@behaviour
async def structures_return_unchanged(scene):
    client = await scene.connect()
    for value in [True, False, {}, [], [[], {"a": [{"b": None}]}], {"": 1, "ключ": 2, 'q"': 3}]:
        await echoes(client, value)


@behaviour
async def null_returns_unchanged(scene):
    client = await scene.connect()
    assert await client.call("echo", [None]) == [None]
    assert await client.call("type_of", [None]) == "array"


@behaviour
async def a_long_text_both_ways(scene):
    client = await scene.connect()
    text = "é" * 100_000
    assert await client.call("echo", text) == text
    assert len(await client.call("make_text", 1_500_000)) == 1_500_000


@behaviour
async def several_arguments(scene):
    client = await scene.connect()
    await client.emit("echo", (1, "two", {"three": 3}))
    assert await client.event("echo") == (1, "two", {"three": 3})
    assert await client.call("count", tuple(range(20))) == 20


@behaviour
async def no_arguments(scene):
    client = await scene.connect()
    await client.emit("emit", "nothing")
    assert await client.event("nothing") == ()
    assert await client.call("count") == 0


@behaviour
async def odd_event_names(scene):
    client = await scene.connect()
    for name in ["with space", "a,b", "/slash", 'q"q', "🦀", "123", "n" * 200]:
        await client.emit("emit", (name, 1))
        assert await client.event(name) == (1,)


# --- binary


@behaviour
async def bytes_return_unchanged(scene):
    client = await scene.connect()
    assert await client.call("echo", bytes(range(256))) == bytes(range(256))
    assert await client.call("type_of", b"abc") == "binary"


@behaviour
async def bytes_as_an_event(scene):
    client = await scene.connect()
    await client.emit("echo", ("name", b"\x00\xff"))
    assert await client.event("echo") == ("name", b"\x00\xff")


@behaviour
async def bytes_deep_inside(scene):
    client = await scene.connect()
    value = {"a": [{"b": [b"deep", None]}], "c": "text"}
    assert await client.call("echo", value) == value


@behaviour
async def no_bytes_at_all(scene):
    client = await scene.connect()
    assert (await client.call("digest", b"")) == {"length": 0, "sum": 0}


@behaviour
async def many_bytes_both_ways(scene):
    client = await scene.connect()
    assert (await client.call("digest", b"\x01" * 300_000)) == {"length": 300_000, "sum": 300_000}
    assert await client.call("make_bytes", 70_000) == bytes(n % 256 for n in range(70_000))


@behaviour
async def ten_attachments_to_the_server(scene):
    client = await scene.connect()
    assert await client.call("count", tuple(bytes([n]) for n in range(10))) == 10


@behaviour
async def bytes_to_others(scene):
    one, two = await scene.group(2)
    await send(one, via="others", to=[two.id()], event="file", args=["n", b"bytes"])
    assert await two.event("file") == ("n", b"bytes")


# --- acknowledgements


@behaviour
async def an_answer_with_several_values(scene):
    client = await scene.connect()
    assert await client.call("echo", (1, "two")) == (1, "two")


@behaviour
async def an_answer_without_values(scene):
    client = await scene.connect()
    assert await client.call("echo") in (None, (), [])


@behaviour
async def a_late_answer(scene):
    client = await scene.connect()
    assert await client.call("ack_late", (50, "late")) == "late"


@behaviour
async def an_answer_which_never_comes(scene):
    client = await scene.connect()
    try:
        await client.call("ack_never", timeout=0.1)
    except socketio.exceptions.TimeoutError:
        assert await client.call("echo", "alive") == "alive"
        return
    raise AssertionError("answered")


@behaviour
async def many_answers_find_their_callers(scene):
    client = await scene.connect()
    for start in range(0, 48, 12):
        asked = list(range(start, start + 12))
        assert await asyncio.gather(*(client.call("echo", n) for n in asked)) == asked


@behaviour
async def a_callback(scene):
    client = await scene.connect()
    got = []

    def callback(*args):
        got.append(args)
        client.loop.call_soon_threadsafe(client.changed.set)

    await client.emit("echo", ("a", 1), callback=callback)
    await client.until(lambda: got, "callback")
    assert got == [("a", 1)]


@behaviour
async def a_slow_handler_answers(scene):
    one, two = await scene.group(2)
    slow = asyncio.ensure_future(one.call("slow", 200))
    assert await two.call("echo", 1) == 1
    assert await slow == "done"


@behaviour
async def the_server_asks(scene):
    client = await scene.connect()
    client.answers["question"] = lambda a, b: a + b
    request = {"event": "question", "args": [1, 2], "timeout_ms": 5000}
    assert await client.call("request", request) == {"outcome": "ack", "args": [3]}


@behaviour
async def the_server_asks_and_gets_several_values(scene):
    client = await scene.connect()
    client.answers["question"] = lambda: (1, "two")
    request = {"event": "question", "args": [], "timeout_ms": 5000}
    assert (await client.call("request", request))["args"] == [1, "two"]


@behaviour
async def the_server_asks_and_gets_bytes(scene):
    client = await scene.connect()
    client.answers["question"] = lambda data: data + data
    request = {"event": "question", "args": [b"ab"], "timeout_ms": 5000}
    assert (await client.call("request", request))["args"] == [b"abab"]


@behaviour
async def the_server_asks_somebody_else(scene):
    one, two = await scene.group(2)
    two.answers["question"] = lambda: "two"
    request = {"id": two.id(), "event": "question", "args": [], "timeout_ms": 5000}
    assert (await one.call("request", request))["args"] == ["two"]


@behaviour
async def the_server_asks_a_room(scene):
    clients = await scene.group(3)
    room = scene.name()
    for n, client in enumerate(clients):
        await client.call("join", room)
        client.answers["vote"] = lambda n=n: n
    options = {"via": "all", "to": [room], "event": "vote", "args": [], "timeout_ms": 5000}
    answer = await clients[0].call("broadcast_request", options)
    assert answer["timed_out"] is False
    assert sorted(answer["responses"]) == [0, 1, 2]


# --- rooms and broadcasts


@behaviour
async def join_and_leave(scene):
    client = await scene.connect()
    assert await client.call("join", "one") == ["one"]
    assert await client.call("join", "two") == ["one", "two"]
    assert await client.call("leave", "one") == ["two"]
    assert (await client.call("rooms"))["rooms"] == sorted([client.id(), "two"])


@behaviour
async def to_everybody_else(scene):
    namespace = scene.fresh()
    await reaches(scene, await scene.group(3, namespace), 0, [0, 1, 1], namespace, via="others")


@behaviour
async def to_everybody(scene):
    namespace = scene.fresh()
    await reaches(scene, await scene.group(3, namespace), 0, [1, 1, 1], namespace, via="all")


@behaviour
async def to_one_socket(scene):
    clients = await scene.group(3)
    await reaches(scene, clients, 0, [0, 0, 1], via="others", to=[clients[2].id()])


@behaviour
async def to_two_rooms_one_copy_each(scene):
    clients = await scene.group(4)
    one, two = scene.name(), scene.name()
    await clients[1].call("join", [one, two])
    await clients[2].call("join", two)
    await reaches(scene, clients, 0, [0, 1, 1, 0], via="others", to=[one, two])


@behaviour
async def to_a_room_except_another(scene):
    clients = await scene.group(3)
    one, two = scene.name(), scene.name()
    for client in clients:
        await client.call("join", one)
    await clients[2].call("join", two)
    await reaches(scene, clients, 0, [1, 1, 0], via="all", to=[one], **{"except": [two]})


@behaviour
async def nothing_after_leaving(scene):
    clients = await scene.group(2)
    room = scene.name()
    await clients[1].call("join", room)
    await clients[1].call("leave", room)
    await reaches(scene, clients, 0, [0, 0], via="all", to=[room])


@behaviour
async def the_server_moves_sockets(scene):
    clients = await scene.group(2)
    room = scene.name()
    await clients[0].call("sockets_join", (clients[1].id(), [room]))
    assert await clients[0].call("sockets", room) == [clients[1].id()]


@behaviour
async def volatile_events_come_once_at_most(scene):
    client = await scene.connect()
    await client.emit("volatile", ("tick", 12))
    await client.event("volatile_end")
    await scene.marker(client)
    ticks = [args[0] for args in client.seen("tick")]
    assert len(ticks) == len(set(ticks)) <= 12


# --- namespaces


@behaviour
async def a_static_namespace(scene):
    client = await scene.connect("/chat")
    assert (await client.call("handshake", namespace="/chat"))["namespace"] == "/chat"
    assert await client.call("echo", b"bytes", namespace="/chat") == b"bytes"


@behaviour
async def a_dynamic_namespace(scene):
    name = scene.fresh()
    client = await scene.connect(name)
    assert (await client.call("handshake", namespace=name))["namespace"] == name


@behaviour
async def a_dynamic_namespace_allowed_by_auth(scene):
    name = f"/auth-{uuid.uuid4().hex[:6]}"
    client = await scene.connect(name, auth={"allow": True})
    assert await client.call("echo", 1, namespace=name) == 1


@behaviour
async def several_namespaces_on_one_connection(scene):
    names = ["/", "/chat", scene.fresh()]
    client = scene.client(names)
    await scene.join(client, namespaces=names)
    assert len({client.id(name) for name in names}) == 3
    for name in names:
        assert (await client.call("handshake", namespace=name))["namespace"] == name


@behaviour
async def namespaces_do_not_hear_each_other(scene):
    names = [scene.fresh(), scene.fresh()]
    client = scene.client(names)
    await scene.join(client, namespaces=names)
    await send(client, via="all", namespace=names[0])
    for name in names:
        await scene.marker(client, name)
    assert [len(client.seen("news", name)) for name in names] == [1, 0]


@behaviour
async def the_connection_handler_emits_after_connect(scene):
    client = await scene.connect("/welcome")
    await client.event("welcome", count=2, namespace="/welcome")
    assert client.events[0][1] == "connect"
    welcomes = [args[0] for args in client.seen("welcome", "/welcome")]
    assert client.id("/welcome") in welcomes and b"\x00\x01\x02\x03" in welcomes


# --- ending


@behaviour
async def the_client_leaves(scene):
    one, two = await scene.group(2)
    identifier = two.id()
    await two.disconnect()
    assert await two.event("disconnect") == ("client disconnect",)
    # "ping timeout": the synchronous polling client sometimes stops before it has sent that it leaves.
    expected = ("client namespace disconnect", "transport close", "ping timeout")
    assert (await one.call("ended", identifier))["reason"] in expected[: 3 if scene.transports == ["polling"] else 2]


@behaviour
async def the_server_ends_the_socket(scene):
    one, two = await scene.group(2)
    identifier = two.id()
    await two.emit("disconnect_me", False)
    assert await two.event("disconnect") == ("server disconnect",)
    assert (await one.call("ended", identifier))["reason"] == "server namespace disconnect"


@behaviour
async def the_server_ends_the_connection(scene):
    one, two = await scene.group(2)
    identifier = two.id()
    await one.call("disconnect_sockets", (identifier, True))
    assert await two.event("disconnect") == ("server disconnect",)
    assert (await one.call("ended", identifier))["reason"] == "server namespace disconnect"


@behaviour
async def the_server_closes_the_transport(scene):
    one, two = await scene.group(2)
    identifier = two.id()
    await one.call("cut", identifier)
    await two.event("disconnect")
    assert (await one.call("ended", identifier))["reason"] == "forced close"


@behaviour
async def rooms_are_known_while_disconnecting(scene):
    one, two = await scene.group(2)
    identifier, room = two.id(), scene.name()
    await two.call("join", room)
    await two.disconnect()
    assert (await one.call("ended", identifier))["rooms"] == [room]


# Over polling the server's close packet makes python-engineio give up for good; its own rule, not the server's.
@behaviour(only=["websocket", "upgrade"])
async def reconnects_after_the_transport_closed(scene):
    quick = {"reconnection": True, "reconnection_delay": 0.02, "reconnection_delay_max": 0.1}
    one = await scene.connect()
    two = await scene.connect(driver_options=quick)
    identifier = two.id()
    await one.call("cut", identifier)
    await two.event("connect", count=2)
    assert two.id() != identifier
    await two.until(lambda: two.connected, "connected again")
    assert await two.call("echo", 1) == 1


# --- order


@behaviour
async def a_thousand_events_to_the_server_in_order(scene):
    client = await scene.connect()
    for n in range(1000):
        await client.emit("push", n)
    assert await client.call("pushed") == list(range(1000))


@behaviour
async def a_dozen_events_from_the_server_once_each(scene):
    client = await scene.connect()
    for n in range(12):
        await client.emit("emit", ("tick", n))
    await client.event("tick", count=12)
    await scene.marker(client)
    assert sorted(args[0] for args in client.seen("tick")) == list(range(12))


@behaviour(only=["websocket", "upgrade"])
async def five_hundred_events_from_the_server_once_each(scene):
    client = await scene.connect()
    await client.emit("burst", {"event": "tick", "count": 500})
    await client.event("tick", count=500)
    await scene.marker(client)
    assert sorted(args[0] for args in client.seen("tick")) == list(range(500))


# --- other fixtures


@behaviour(profile="msgpack")
async def msgpack_values(scene):
    client = await scene.connect(driver_options={"serializer": "msgpack"})
    for value in ["", "žluť 🦀", 0, -1, 2**40, 1.5, True, {"a": [1, {"b": "c"}]}, list(range(300))]:
        assert await client.call("echo", value) == value


@behaviour(profile="msgpack")
async def msgpack_bytes(scene):
    client = await scene.connect(driver_options={"serializer": "msgpack"})
    assert await client.call("echo", b"\x00\xff" * 500) == b"\x00\xff" * 500
    assert await client.call("type_of", b"a") == "binary"


@behaviour(profile="msgpack")
async def msgpack_namespaces_and_questions(scene):
    client = await scene.connect("/chat", driver_options={"serializer": "msgpack"})
    client.answers["question"] = lambda a: a * 2
    request = {"event": "question", "args": [4], "timeout_ms": 5000}
    assert await client.call("request", request, namespace="/chat") == {"outcome": "ack", "args": [8]}


@behaviour(profile="msgpack")
async def msgpack_refusal(scene):
    client = scene.client(serializer="msgpack")
    await refused(scene, client, auth={"refuse": {"message": "no", "data": {"code": 1}}})
    assert await client.event("connect_error") == ({"message": "no", "data": {"code": 1}},)


@behaviour(profile="limits")
async def heartbeats_keep_the_connection(scene):
    client = await scene.connect()
    assert await client.call("slow", 1800) == "done"
    assert client.seen("disconnect") == []


@behaviour(profile="limits")
async def a_message_over_the_limit_ends_the_connection(scene):
    client = await scene.connect()
    await client.emit("push", "x" * 60_000)
    await client.event("disconnect")


@behaviour(profile="limits")
async def a_message_within_the_limit_passes(scene):
    client = await scene.connect()
    assert await client.call("count", "x" * 19_900) == 1


@behaviour(profile="recovery")
async def a_client_without_recovery_meets_a_server_with_it(scene):
    one, two = await scene.group(2)
    await one.emit("emit", ("news", 1))
    args = await one.event("news")
    assert args[0] == 1 and len(args) == 2 and isinstance(args[1], str)
    assert await two.call("echo", 5) == 5
    assert (await two.call("handshake"))["recovered"] is False
