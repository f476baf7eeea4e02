"""Drains the queue into PostgreSQL until SIGTERM.

MODE=each writes every job by itself; MODE=batch lets the jobs that are worked on at the same time share a statement, and
completes each only when it has committed.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
import traceback
import uuid
from datetime import datetime, timezone
from pathlib import Path

import asyncpg
import uvloop
from arq import Worker
from arq.connections import RedisSettings

# The fastest of what was tried on two cores: each with 20 to 1000 jobs at a time and 10 to 20 connections; batch with 500 to 5000,
# 1 to 3 connections, 5 ms to 1 s. arq takes job after job off its queue, with three round trips for each, and uses one core up at
# that: so its batches are small unless they wait, and it must never have max_jobs at work, or it asks for all of them again. A batch
# is planned for its own length: the plan for arrays of any length takes them for ten long, and joins them row by row.
TUNED = {
    "each": {"max_jobs": 1000, "connections": 20, "plans": "auto"},
    "batch": {"max_jobs": 5000, "connections": 2, "plans": "force_custom_plan"},
}
POLL_DELAY = 0.01
BATCH = 500
AGE = 0.25

# Both as in Headworks, so that an event has the same id whoever writes it.
NAMESPACE = bytes.fromhex("6a1d5a0e93c75c0f8a550de590f17a11")
STORED = "object.stored"

compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def event_id(upload: str) -> str:
    """A UUIDv5 of the upload and the type."""
    name = uuid.UUID(upload).bytes + STORED.encode()
    return str(uuid.UUID(bytes=hashlib.sha1(NAMESPACE + name).digest()[:16], version=5))


def payload(job: dict, event: str, time_text: str) -> str:
    """A CloudEvent as far as its last member, the version, which the statement adds."""
    whole = compact({
        "specversion": "1.0",
        "id": event,
        "source": f"/headworks/{job['org']}/{job['project']}",
        "type": STORED,
        "subject": job["id"],
        "time": time_text,
        "datacontenttype": "application/json",
        "requestid": job["request_id"],
        "data": {
            "id": job["id"],
            "path": job["path"],
            "content_type": job["content_type"],
            "digest": {"crc64nvme": f"{job['crc64nvme']:016x}", "sha256": None},
            "size": job["size"],
            "sniffed_type": job["sniffed_type"],
            "version": 0,
        },
    })
    return whole.removesuffix("0}}")


def row(job: dict, at: int) -> tuple:
    """The statements' values, in their order, but for the time."""
    event = event_id(job["id"])
    time_text = datetime.fromtimestamp(at / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        job["id"],
        job["org"],
        job["project"],
        job["path"],
        job["size"],
        job["crc64nvme"],
        job["content_type"],
        job["sniffed_type"],
        event,
        payload(job, event, time_text),
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class EachByItself:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool, self.sql = pool, statement("each")

    async def write(self, job: dict) -> None:
        at = now_ms()
        await self.pool.execute(self.sql, *row(job, at), at)


class InBatches:
    """A batch goes when it is full or its first job has waited for AGE."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool, self.sql = pool, statement("batch")
        self.waiting: list[tuple[dict, asyncio.Future]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.flights: set[asyncio.Task] = set()

    async def write(self, job: dict) -> None:
        loop = asyncio.get_running_loop()
        committed = loop.create_future()
        self.waiting.append((job, committed))
        if len(self.waiting) == BATCH:
            self.flush()
        elif self.timer is None:
            self.timer = loop.call_later(AGE, self.flush)
        await committed

    def flush(self) -> None:
        self.timer.cancel()
        batch, self.waiting, self.timer = self.waiting, [], None
        flight = asyncio.create_task(self.store(batch))
        self.flights.add(flight)
        flight.add_done_callback(self.flights.discard)

    async def store(self, batch: list[tuple[dict, asyncio.Future]]) -> None:
        at = now_ms()
        columns = zip(*(row(job, at) for job, _ in batch))
        try:
            await self.pool.execute(self.sql, *columns, at)
        except Exception as error:
            for _, committed in batch:
                committed.set_exception(error)
        else:
            for _, committed in batch:
                committed.set_result(None)


def statement(name: str) -> str:
    return (Path(__file__).parent.parent / f"{name}.sql").read_text()


WRITERS = {"each": EachByItself, "batch": InBatches}


async def keep_session(_: asyncpg.Connection) -> None:
    """Spares the round trip that resets a connection: nothing here leaves traces in it."""


async def connect(ctx: dict) -> None:
    ctx["pool"] = await asyncpg.create_pool(
        os.environ["DATABASE_URL"],
        min_size=ctx["connections"],
        max_size=ctx["connections"],
        reset=keep_session,
        server_settings={"plan_cache_mode": ctx["plans"]},
    )
    ctx["writer"] = WRITERS[os.environ["MODE"]](ctx["pool"])


async def disconnect(ctx: dict) -> None:
    await ctx["pool"].close()


async def object_stored(ctx: dict, job: dict) -> None:
    try:
        await ctx["writer"].write(job)
    except Exception:
        # arq would log it and go on.
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    mode = os.environ["MODE"]
    if mode not in TUNED:
        sys.exit(f"MODE is each or batch, not {mode}")
    asyncio.set_event_loop(uvloop.new_event_loop())
    worker = Worker(
        [object_stored],
        redis_settings=RedisSettings.from_dsn(os.environ["REDIS_URL"]),
        on_startup=connect,
        on_shutdown=disconnect,
        ctx=TUNED[mode],
        max_jobs=TUNED[mode]["max_jobs"],
        poll_delay=POLL_DELAY,
        keep_result=0,
        job_completion_wait=30,
        job_serializer=lambda job: json.dumps(job).encode(),
        job_deserializer=json.loads,
    )
    worker.run()


main()
