"""The two stock python-socketio clients behind one asynchronous face, so that one table of behaviours runs on both.

The synchronous client is driven through worker threads; its own threads deliver events, which are handed to the test's loop.
Nothing of the clients is replaced: only public calls are used.
"""

import asyncio
import socketio

PATIENCE = 8.0


class _Driver:
    """What both have in common: recorded events and awaiting them."""

    def __init__(self, **options):
        self.options = {"reconnection": False, **options}
        self.events = []  # (namespace, name, args)
        self.loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self.answers = {}  # event name -> function(*args) whose result is the acknowledgement

    def record(self, namespace, name, args):
        self.events.append((namespace, name, args))
        self.changed.set()

    def seen(self, name, namespace="/"):
        return [args for ns, event, args in self.events if ns == namespace and event == name]

    async def until(self, condition, what):
        async def wait():
            while not condition():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.02)
                except asyncio.TimeoutError:
                    pass  # A client's attribute may have changed without an event.

        try:
            await asyncio.wait_for(wait(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError(f"never came true: {what}") from None

    async def event(self, name, count=1, namespace="/"):
        await self.until(lambda: len(self.seen(name, namespace)) >= count, f"{count} x {name}")
        return self.seen(name, namespace)[count - 1]

    def id(self, namespace="/"):
        return self.client.get_sid(namespace)

    @property
    def connected(self):
        return self.client.connected

    def transport(self):
        return self.client.transport()


class AsyncDriver(_Driver):
    kind = "AsyncClient"

    def __init__(self, namespaces=("/",), **options):
        super().__init__(**options)
        self.client = socketio.AsyncClient(**self.options)
        for namespace in namespaces:
            self._listen(namespace)

    def _listen(self, namespace):
        async def any_event(event, *args):
            answer = self.answers.get(event)
            self.record(namespace, event, args)
            return answer(*args) if answer else None

        async def connect():
            self.record(namespace, "connect", ())

        async def disconnect(*args):
            self.record(namespace, "disconnect", args)

        async def connect_error(*args):
            self.record(namespace, "connect_error", args)

        self.client.on("*", any_event, namespace=namespace)
        self.client.on("connect", connect, namespace=namespace)
        self.client.on("disconnect", disconnect, namespace=namespace)
        self.client.on("connect_error", connect_error, namespace=namespace)

    async def connect(self, url, **options):
        await self.client.connect(url, **options)

    async def emit(self, *args, **options):
        await self.client.emit(*args, **options)

    async def call(self, *args, **options):
        return await self.client.call(*args, **{"timeout": PATIENCE, **options})

    async def disconnect(self):
        await self.client.disconnect()

    async def shutdown(self):
        await self.client.shutdown()


class SyncDriver(_Driver):
    kind = "Client"

    def __init__(self, namespaces=("/",), **options):
        super().__init__(**options)
        self.client = socketio.Client(**self.options)
        for namespace in namespaces:
            self._listen(namespace)

    def record(self, namespace, name, args):
        # Called by the client's own threads. The list keeps their order; the loop is only woken.
        self.events.append((namespace, name, args))
        self.loop.call_soon_threadsafe(self.changed.set)

    def _listen(self, namespace):
        def any_event(event, *args):
            answer = self.answers.get(event)
            self.record(namespace, event, args)
            return answer(*args) if answer else None

        self.client.on("*", any_event, namespace=namespace)
        self.client.on("connect", lambda: self.record(namespace, "connect", ()), namespace=namespace)
        self.client.on("disconnect", lambda *args: self.record(namespace, "disconnect", args), namespace=namespace)
        self.client.on("connect_error", lambda *args: self.record(namespace, "connect_error", args), namespace=namespace)

    async def connect(self, url, **options):
        await asyncio.to_thread(self.client.connect, url, **options)

    async def emit(self, *args, **options):
        await asyncio.to_thread(self.client.emit, *args, **options)

    async def call(self, *args, **options):
        return await asyncio.to_thread(self.client.call, *args, **{"timeout": PATIENCE, **options})

    async def disconnect(self):
        await asyncio.to_thread(self.client.disconnect)

    async def shutdown(self):
        await asyncio.to_thread(self.client.shutdown)
