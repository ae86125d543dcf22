"""Agents that people write: over plain TCP and over the bus."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tesp.agents.agent import Agent, Letter, Sender, takes
from tesp.agents.posts import BusPost, Post, TcpPost
from tesp.bus.memory import MemoryBus
from tesp.errors import BusRefused, BusUnavailable, MessageRefused, SettingsError
from tesp.settings import AgentSettings
from tests.peers.room import free_port

_EXAMPLE = Path(__file__).parents[3] / "examples" / "agents" / "night.py"
SECRET = "sesame open"


class Echo(Agent):
    """Keeps what it takes, and hands it on to a friend where it has one."""

    def __init__(self, name: str, post: Post, friend: str | None = None) -> None:
        super().__init__(name, post)
        self.friend = friend
        self.came: asyncio.Queue[Letter] = asyncio.Queue()
        self.ready, self.released, self.worked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self.ready.set()

    async def work(self) -> None:
        await self.released.wait()
        self.worked.set()

    @takes("say")
    async def take(self, letter: Letter) -> None:
        self.came.put_nowait(letter)
        if self.friend:
            await self.send_to(self.friend, "say", words=letter.fields["words"])

    @takes("break")
    async def fail(self, letter: Letter) -> None:
        raise RuntimeError("as it was told")

    @takes("end")
    async def end(self, letter: Letter) -> None:
        await self.shutdown()
        self.came.put_nowait(letter)


@asynccontextmanager
async def living(*agents: Echo) -> AsyncIterator[None]:
    runs = [asyncio.create_task(agent.run()) for agent in agents]
    for agent in agents:
        await asyncio.wait_for(agent.ready.wait(), 10)
    try:
        yield
    finally:
        for agent in agents:
            await agent.shutdown()
        await asyncio.wait_for(asyncio.gather(*runs), 10)


def tcp(secret: str | None = None, **ports: int) -> TcpPost:
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    return TcpPost(AgentSettings.model_validate({"addresses": addresses, "secret": secret}))


@pytest.fixture(params=["tcp", "bus"])
def post(request: pytest.FixtureRequest) -> Post:
    if request.param == "tcp":
        return tcp(a=free_port(), b=free_port())
    return BusPost(MemoryBus(), "tesp")


async def got(agent: Echo) -> Letter:
    return await asyncio.wait_for(agent.came.get(), 10)


async def test_a_letter_goes_to_the_method_of_its_name_and_on_with_its_cause(post: Post) -> None:
    a, b = Echo("a", post, friend="b"), Echo("b", post)
    async with living(a, b):
        await Sender(post).send_to("a", "say 'words=$(rm -rf /)'", times=3)
        first, second = await got(a), await got(b)
    assert dict(first.fields)["words"] == dict(second.fields)["words"] == "$(rm -rf /)"
    assert first.fields["times"] == 3
    assert (second.correlation, second.hops) == (first.correlation, 1)
    assert second.id != first.id


async def test_letters_are_taken_while_work_goes_on_and_after_it(post: Post) -> None:
    a = Echo("a", post)
    async with living(a):
        await Sender(post).send_to("a", "say", words="during")
        await got(a)
        assert not a.worked.is_set()
        a.released.set()
        await asyncio.wait_for(a.worked.wait(), 10)
        await Sender(post).send_to("a", "say", words="after")
        assert (await got(a)).fields["words"] == "after"


async def test_a_method_that_fails_and_a_letter_for_nobody_stop_nothing(post: Post) -> None:
    a = Echo("a", post)
    async with living(a):
        for name in ("break", "unheard", "say words=on"):
            await Sender(post).send_to("a", name)
        assert (await got(a)).fields["words"] == "on"


async def test_two_agents_that_answer_each_other_end_after_eight_hops(post: Post) -> None:
    a, b = Echo("a", post, friend="b"), Echo("b", post, friend="a")
    async with living(a, b):
        await Sender(post).send_to("a", "say words=ping")
        came = [await got(agent) for agent in (a, b) * 4]
        await Sender(post).send_to("a", "say words=last")
        last = await got(a)
    assert [letter.hops for letter in came] == [*range(8)]
    assert last.fields["words"] == "last"


async def test_an_agent_may_end_itself(post: Post) -> None:
    a = Echo("a", post)
    running = asyncio.create_task(a.run())
    await asyncio.wait_for(a.ready.wait(), 10)
    await Sender(post).send_to("a", "end")
    await asyncio.wait_for(running, 10)
    assert (await got(a)).name == "end"


class Breaking(Echo):
    async def work(self) -> None:
        raise OSError("no telescope")


async def test_work_that_fails_ends_the_agent_with_its_error(post: Post) -> None:
    with pytest.raises(OSError, match="no telescope"):
        await asyncio.wait_for(Breaking("a", post).run(), 10)


async def said(port: int, data: bytes) -> bytes:
    """What the agent answers to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"say words=hello\n", b"ok\n"),
        (b'{"message": "say", "words": "hello"}\n', b"ok\n"),
        (bytes(range(128, 256)) + b"\n", b"no: a letter is text in UTF-8\n"),
        (b"say words='\n", b"no: a letter is `name"),
        (b"../say\n", b"no: a letter's name"),
        (b"\n", b"no: "),
        (b"say words\n", b"no: 'words' is no key=value"),
        (b'{"message": "say", "words": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", b"no: "),
        (b'{"message": {"a": 1}}\n', b"no: the body is not flat"),
        (b"say words=" + b"x" * 1_000_000 + b"\n", b"no: a line has 65536 bytes at most\n"),
        (b"say words=cut", b""),
    ],
)
async def test_a_line_is_a_letter_or_is_refused_and_all_goes_on(line: bytes, answer: bytes) -> None:
    port = free_port()
    a = Echo("a", tcp(a=port))
    async with living(a):
        try:
            heard = await said(port, line)
        except ConnectionError:
            # Who goes on speaking after he was refused may not hear why.
            assert len(line) > 65536
            heard = answer
        assert heard.startswith(answer)
        assert bool(answer) == bool(heard)
        if answer != b"ok\n":
            assert await said(port, b"say words=hello\n") == b"ok\n"
        assert (await got(a)).fields["words"] == "hello"
        assert a.came.empty()


async def test_with_a_secret_only_who_says_it_is_heard() -> None:
    port = free_port()
    a = Echo("a", tcp(SECRET, a=port))
    async with living(a):
        for wrong in (None, "sesame shut"):
            with pytest.raises(MessageRefused, match="secret"):
                await Sender(tcp(wrong, a=port)).send_to("a", "say words=no")
        await Sender(tcp(SECRET, a=port)).send_to("a", "say words=yes")
        letter = await got(a)
    assert letter.trusted
    assert dict(letter.fields) == {"words": "yes", "ts": letter.fields["ts"]}


async def test_beyond_loopback_an_agent_needs_a_secret() -> None:
    post = TcpPost(AgentSettings(addresses={"a": f"0.0.0.0:{free_port()}"}))
    with pytest.raises(SettingsError, match=r"agents\.secret must be set"):
        await asyncio.wait_for(Echo("a", post).run(), 10)


async def test_who_is_not_there_is_told_from_who_is_not_known() -> None:
    sender = Sender(tcp(a=free_port()))
    with pytest.raises(BusUnavailable, match="agent a"):
        await sender.send_to("a", "say words=x")
    with pytest.raises(BusRefused, match="there is no b; there are: a"):
        await sender.send_to("b", "say words=x")


@pytest.fixture
def start(tmp_path: Path) -> "Callable[..., subprocess.Popen[str]]":
    settings = tmp_path / "settings.toml"
    addresses = ", ".join(
        f'{name} = "127.0.0.1:{free_port()}"' for name in ("watcher", "scheduler")
    )
    settings.write_text(
        f'[default]\ndata_dir = "{tmp_path}"\n[default.agents]\naddresses = {{ {addresses} }}\n'
    )
    return lambda role, *words: subprocess.Popen(
        [sys.executable, _EXAMPLE, role, settings, *words], stdout=subprocess.PIPE, text=True
    )


def test_the_example_brings_an_alert_to_the_scheduler(
    start: "Callable[..., subprocess.Popen[str]]",
) -> None:
    with start("scheduler") as scheduler, start("watcher") as watcher:
        try:
            assert scheduler.stdout
            assert scheduler.stdout.readline() == "ready\n"
            for target, magnitude in (("too faint", "21"), ("GRB 250101A", "17.2")):
                alert = ("alert", f"target={target}", f"magnitude={magnitude}")
                # The watcher may still be starting.
                while start(*alert).wait(30):
                    assert watcher.poll() is None
            assert scheduler.stdout.readline() == "observes GRB 250101A\n"
            scheduler.send_signal(signal.SIGTERM)
            assert scheduler.stdout.read() == "closes the dome\n"
            assert scheduler.wait(20) == 0
        finally:
            scheduler.kill()
            watcher.kill()
