"""Puts JOBS jobs on the queue, as Headworks' gateway would have, and makes sure that their scopes are there."""

import asyncio
import json
import os
import secrets
import time
import uuid

import asyncpg
import uvloop
from arq import create_pool
from arq.connections import RedisSettings

CHUNK = 100
SCOPES = 50


def uuidv7() -> str:
    """RFC 9562: 48 bits of milliseconds, the version, and random bits."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


def job(n: int) -> dict:
    return {
        "id": uuidv7(),
        "org": "acme",
        "project": f"project-{n % SCOPES}",
        "path": f"2026/11/21/camera-{n % 7}/picture-{n:08}.jpg",
        "size": 10240,
        # As small as JavaScript's numbers, so that all peers' jobs are alike.
        "crc64nvme": secrets.randbits(48),
        "content_type": "image/jpeg",
        "sniffed_type": "image/jpeg",
        "request_id": f"request-{n}",
    }


async def name_scopes() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.execute(
        "INSERT INTO scopes (org, project) SELECT 'acme', 'project-' || n FROM generate_series(0, $1::int - 1) AS n"
        " ON CONFLICT DO NOTHING",
        SCOPES,
    )
    await database.close()


async def main() -> None:
    await name_scopes()
    count = int(os.environ["JOBS"])
    settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    redis = await create_pool(settings, job_serializer=lambda job: json.dumps(job).encode())
    for first in range(0, count, CHUNK):
        jobs = [job(n) for n in range(first, min(first + CHUNK, count))]
        entered = await asyncio.gather(*(redis.enqueue_job("object_stored", job, _job_id=job["id"]) for job in jobs))
        if None in entered:
            raise RuntimeError("a job was on the queue already")
    await redis.aclose()


uvloop.run(main())
