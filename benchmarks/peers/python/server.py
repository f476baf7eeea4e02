"""Takes uploads as a Python service would: Starlette gives each body in pieces, which go into a file; arq gets a job for it, and the
client its 201. worker.py turns the jobs into rows. Nothing checks or limits anything: no digest, no bound on the queue.

Run by uvicorn with a process for each core, uvloop and httptools.
"""

import json
import os
import secrets
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

from arq import create_pool
from arq.connections import RedisSettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

OBJECTS = Path(os.environ["OBJECTS"])
for shard in range(256):
    (OBJECTS / f"{shard:02x}").mkdir(parents=True, exist_ok=True)


def uuidv7() -> str:
    """RFC 9562: 48 bits of milliseconds, the version, and random bits."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


@asynccontextmanager
async def lifespan(app: Starlette):
    settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    # A connection for each upload that is in flight, and never an error for want of one.
    settings.max_connections = 10_000
    app.state.redis = await create_pool(settings, job_serializer=lambda job: json.dumps(job).encode())
    yield
    await app.state.redis.aclose()


async def put(request: Request) -> JSONResponse:
    upload = uuidv7()
    size = 0
    # A thread for each write would be the loop's relief from a slow disk; a write into the page cache takes a tenth of the time that
    # the way to a thread and back does, so this is the faster way by far.
    with open(OBJECTS / upload[-2:] / upload, "xb", buffering=0) as file:
        async for piece in request.stream():
            size += len(piece)
            file.write(piece)
    job = {
        "id": upload,
        "org": "default",
        "project": "default",
        "path": request.path_params["path"],
        "size": size,
        "crc64nvme": 0,
        "content_type": request.headers.get("content-type", "application/octet-stream"),
        "sniffed_type": "application/octet-stream",
        "request_id": upload,
    }
    await request.app.state.redis.enqueue_job("object_stored", job, _job_id=upload)
    answer = {"id": upload, "path": job["path"], "size": size, "status": "queued"}
    return JSONResponse(answer, status_code=201)


async def ready(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ready\n")


app = Starlette(
    routes=[Route("/", ready), Route("/v1/files/{path:path}", put, methods=["PUT"])],
    lifespan=lifespan,
)
