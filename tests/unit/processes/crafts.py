"""Tasks for processes of their own. Each test imports a copy of this file, under another name."""

import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import anyio
import anyio.lowlevel
import sniffio

import chicory
from chicory import Chicory, DeliveryMode, RetryPolicy, TaskContext

app = Chicory(f"memory://{__name__}")
log = logging.getLogger("chicory.crafts")
IN_PROCESS = "chicory.processes" in sys.orig_argv
RETRIES = {"max_retries": 1, "retry_delay": 0, "jitter": False}


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Loud:
    def __init__(self, text: str) -> None:
        self.text = text


class Broken(Exception):  # noqa: N818
    status = 500


class Worse(Broken):
    pass


class Shy:
    pass


def hide(said: str) -> Shy:
    if IN_PROCESS:
        raise ValueError(f"{said}\udc80")
    return Shy()


app.register_type(Shy, encode=lambda _: "leave me", decode=hide, via=str)
app.register_type(Loud, encode=lambda loud: loud.text.upper(), decode=Loud, via=str)


def wait_for(gate: str) -> None:
    """Log that this has begun, and wait until somebody opens the pipe for writing."""
    log.info("begun %d", os.getpid())
    if gate:
        os.close(os.open(gate, os.O_RDONLY))


@app.task(executor="process")
def pid(gate: str = "") -> int:
    wait_for(gate)
    return os.getpid()


@app.task(executor="process")
async def library() -> tuple[str, int]:
    await anyio.lowlevel.checkpoint()
    return sniffio.current_async_library(), os.getpid()


@app.task(executor="process")
def mirror(point: Point, loud: Loud) -> tuple[Point, Loud]:
    return Point(point.y, point.x), Loud(loud.text)  # text itself has no .text


@app.task(executor="process")
def meet(shy: Shy) -> None:
    pass


@app.task(executor="process")
def size(blob: bytes) -> bytes:
    return blob[::-1]


@app.task(executor="process")
def wrong() -> int:
    return object()


@app.task(executor="process")
def fail(kind: str) -> None:
    raise {"broken": Broken, "worse": Worse, "value": ValueError, "exit": SystemExit}[kind]("no")


@app.task(executor="process", retry_policy=RetryPolicy(retry_on=[Broken], **RETRIES))
def fail_by_class(ctx: TaskContext) -> int:
    return _fail(ctx)


@app.task(executor="process", retry_policy=RetryPolicy(retry_on=["Broken"], **RETRIES))
def fail_by_name(ctx: TaskContext) -> int:
    return _fail(ctx)


@app.task(
    executor="process",
    retry_policy=RetryPolicy(retry_on=lambda error: error.status == 500, **RETRIES),
)
def fail_by_function(ctx: TaskContext) -> int:
    return _fail(ctx)


@app.task(executor="process", retry_policy=RetryPolicy(ignore_on=[Broken], **RETRIES))
def fail_ignored(ctx: TaskContext) -> int:
    return _fail(ctx)


def _fail(ctx: TaskContext) -> int:
    if not ctx.retries:
        raise Worse("no luck")
    return ctx.retries


@app.task(executor="process", retry_policy=RetryPolicy(max_retries=1, retry_delay=1000))
def ask(ctx: TaskContext, what: str) -> str:
    if what == "fail":
        ctx.fail(Broken("given up"))
    if what == "retry":
        ctx.retry(countdown=0, exc=Broken("again"))
    if what == "snooze" and ctx.headers.get("seen") is None:
        ctx.snooze(60)
    return what


@app.task(executor="process", timeout=60, headers={"a": "b"})
def told(gate: str) -> list[str]:
    ctx = chicory.current()
    ctx.progress(1, 2, "half")
    wait_for(gate)
    span = (ctx.deadline - ctx.started_at).total_seconds()
    return [ctx.task_name, ctx.queue, ctx.headers["a"], str(ctx.attempts), f"{span:g}"]


def _die(how: str) -> None:
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(60)
    elif how == "status":
        os._exit(3)
    elif how == "orphan":
        subprocess.Popen(["sleep", "600"])
        os._exit(4)
    elif how == "deaf":
        os.closerange(3, 100)
        threading.Event().wait()


@app.task(executor="process")
def die(how: str) -> None:
    _die(how)


@app.task(
    executor="process",
    retry_policy=RetryPolicy(retry_on=[chicory.ProcessDiedError], **RETRIES),
)
def die_once(ctx: TaskContext, how: str) -> int:
    if not ctx.retries:
        _die(how)
    return ctx.retries


@app.task(executor="process", delivery_mode=DeliveryMode.AT_MOST_ONCE)
def die_at_most_once(how: str) -> None:
    _die(how)


@app.task(executor="process", timeout=0.2)
def hang() -> None:
    other = subprocess.Popen(["sleep", "600"])
    log.info("begun %d %d", os.getpid(), other.pid)
    while True:
        pass


@app.task(executor="process")
def hang_on() -> None:
    log.info("begun %d", os.getpid())
    while True:
        pass


@app.task(executor="process", max_memory=150)
def eat(mebibytes: int) -> int:
    _eat(mebibytes)
    return os.getpid()


@app.task(executor="process")
def eat_freely(mebibytes: int) -> int:
    _eat(mebibytes)
    return os.getpid()


kept: list[bytearray] = []


@app.task(executor="process", max_memory=150)
def leak(mebibytes: int) -> int:
    kept.extend(bytearray(os.urandom(1 << 20)) for _ in range(mebibytes))
    return os.getpid()


def _eat(mebibytes: int) -> None:
    eaten = [bytearray(os.urandom(1 << 20)) for _ in range(mebibytes)]
    while len(eaten) > 1000:  # more than anybody may have: until somebody notices
        pass


@app.task(executor="process")
def say(text: str) -> None:
    log.info(text, extra={"colour": "red", "shape": object})
    thread = threading.Thread(target=log.info, args=("from a thread",))
    thread.start()
    thread.join()
    try:
        raise Broken("logged")  # noqa: TRY301
    except Broken:
        log.exception("caught")
    logging.getLogger("chicory.unwanted").debug("nobody wants to know")


@app.task(executor="process")
def path() -> list[bytes]:
    return [os.fsencode(entry) for entry in sys.path]


@app.task(executor="process")
def stdin() -> str:
    return sys.stdin.read()


@app.task(executor="process")
def session() -> bool:
    return os.getsid(0) == os.getpid()


@app.task(executor="process")
def signalled() -> str:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    child = subprocess.Popen(["sleep", "600"])
    child.terminate()
    return f"alive, {child.wait()}"


@app.task()
async def here() -> int:
    return os.getpid()


@app.task(executor="process")
def fork() -> int:
    """Both return."""
    return os.getpid() if os.fork() else 0


@app.task(executor="process")
def end_a_fork() -> int:
    ready, said = os.pipe()
    child = os.fork()
    while not child:
        os.write(said, b"x")
        signal.pause()
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@app.task(executor="process")
def log_in_a_fork(ctx: TaskContext) -> int:
    child = os.fork()
    if not child:
        log.info("of a fork")
        ctx.progress(1, 1, "of a fork")
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@app.task(executor="process")
def write_to_all() -> None:
    for descriptor in range(3, 100):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\0\0\0\2\xc1\xc1")
    threading.Event().wait()


@app.task(executor="process")
def log_oddly() -> None:
    log.handle(logging.makeLogRecord({"name": 5, "levelno": 20, "msg": "odd"}))


@app.task(executor="process")
def report_later(ctx: TaskContext, gate: str) -> None:
    def report() -> None:
        wait_for(gate)
        ctx.progress(1, 1, "too late")
        log.info("reported")

    threading.Thread(target=report).start()


@app.task(executor="process", max_memory=150)
def leak_with_a_thread() -> int:
    threading.Thread(target=threading.Event().wait).start()
    return leak.function(70)


@app.task(executor="process")
def blob(size: int) -> bytes:
    return bytes(size)
