// Puts JOBS jobs on the queue, as Headworks' gateway would have, and makes sure that their scopes are there.
import { randomBytes } from "node:crypto";
import { Queue } from "bullmq";
import IORedis from "ioredis";
import pg from "pg";
import { uuidv7 } from "./uuid.mjs";

const CHUNK = 1000;
const SCOPES = 50;

const [REDIS_URL, DATABASE_URL, JOBS] = ["REDIS_URL", "DATABASE_URL", "JOBS"].map((name) => {
  if (!process.env[name]) throw new Error(`${name} is not set`);
  return process.env[name];
});

function job(n) {
  const data = {
    id: uuidv7(),
    org: "acme",
    project: `project-${n % SCOPES}`,
    path: `2026/11/21/camera-${n % 7}/picture-${String(n).padStart(8, "0")}.jpg`,
    size: 10240,
    // Below 2^53, so that JSON's numbers carry it here.
    crc64nvme: randomBytes(6).readUIntBE(0, 6),
    content_type: "image/jpeg",
    sniffed_type: "image/jpeg",
    request_id: `request-${n}`,
  };
  return { name: "object_stored.v1", data, opts: { jobId: data.id, removeOnComplete: true } };
}

const database = new pg.Client(DATABASE_URL);
await database.connect();
await database.query(
  "INSERT INTO scopes (org, project) SELECT 'acme', 'project-' || n FROM generate_series(0, $1 - 1) AS n ON CONFLICT DO NOTHING",
  [SCOPES],
);
await database.end();

const connection = new IORedis(REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue("uploads", { connection });
const count = Number(JOBS);
for (let n = 0; n < count; n += CHUNK) {
  const length = Math.min(CHUNK, count - n);
  await queue.addBulk(Array.from({ length }, (_, place) => job(n + place)));
}
await queue.close();
await connection.quit();
