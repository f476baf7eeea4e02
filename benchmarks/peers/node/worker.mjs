// Drains the queue into PostgreSQL until SIGTERM. MODE=each writes every job by itself; MODE=batch lets the jobs that are worked
// on at the same time share a statement, and completes each only when it has committed.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Worker } from "bullmq";
import IORedis from "ioredis";
import pg from "pg";

// The fastest of what was tried on two cores: each with a concurrency of 16 to 200, 16 to 50 connections, with and without ioredis'
// pipelining of what is said in one tick; batch with 500 to 4000, 1 to 4 connections, 5 to 20 ms. A batch is planned for its own
// length: the plan for arrays of any length takes them for ten long, and joins them row by row (100 ms instead of 14).
const TUNED = {
  each: { concurrency: 50, connections: 20, pipelining: true, plans: "auto" },
  batch: { concurrency: 2000, connections: 2, pipelining: false, plans: "force_custom_plan" },
};
const BATCH = 500;
const AGE_MS = 5;

// Both as in Headworks, so that an event has the same id whoever writes it.
const NAMESPACE = Buffer.from("6a1d5a0e93c75c0f8a550de590f17a11", "hex");
const STORED = "object.stored";

const [REDIS_URL, DATABASE_URL, MODE] = ["REDIS_URL", "DATABASE_URL", "MODE"].map(
  (name) => process.env[name] || fail(`${name} is not set`),
);

function fail(error) {
  console.error(error);
  process.exit(1);
}

// A UUIDv5 of the upload and the type.
function eventId(upload) {
  const name = Buffer.from(upload.replaceAll("-", ""), "hex");
  const bytes = createHash("sha1").update(NAMESPACE).update(name).update(STORED).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x50;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

// A CloudEvent as far as its last member, the version, which the statement adds.
function payload(job, event, at) {
  const digest = { crc64nvme: job.crc64nvme.toString(16).padStart(16, "0"), sha256: null };
  const whole = JSON.stringify({
    specversion: "1.0",
    id: event,
    source: `/headworks/${job.org}/${job.project}`,
    type: STORED,
    subject: job.id,
    time: new Date(at).toISOString(),
    datacontenttype: "application/json",
    requestid: job.request_id,
    data: {
      id: job.id,
      path: job.path,
      content_type: job.content_type,
      digest,
      size: job.size,
      sniffed_type: job.sniffed_type,
      version: 0,
    },
  });
  return whole.slice(0, -"0}}".length);
}

// The statements' values, in their order, but for the time.
function row(job, at) {
  const event = eventId(job.id);
  const { id, org, project, path, size, crc64nvme, content_type, sniffed_type } = job;
  return [id, org, project, path, size, crc64nvme, content_type, sniffed_type, event, payload(job, event, at)];
}

function statement(name) {
  const text = readFileSync(new URL(`../${name}.sql`, import.meta.url), "utf8");
  return (values) => pool.query({ name, text, values });
}

function eachByItself() {
  const write = statement("each");
  return (job) => {
    const at = Date.now();
    return write([...row(job, at), at]);
  };
}

// A batch goes when it is full or its first job has waited for AGE_MS.
function inBatches() {
  const write = statement("batch");
  let waiting = [];
  let timer;

  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    const [batch, at] = [waiting, Date.now()];
    waiting = [];
    const rows = batch.map(({ job }) => row(job, at));
    const columns = rows[0].map((_, column) => rows.map((values) => values[column]));
    write([...columns, at]).then(
      () => batch.forEach(({ resolve }) => resolve()),
      (error) => batch.forEach(({ reject }) => reject(error)),
    );
  };

  return (job) =>
    new Promise((resolve, reject) => {
      waiting.push({ job, resolve, reject });
      if (waiting.length === BATCH) flush();
      else timer ??= setTimeout(flush, AGE_MS);
    });
}

const { concurrency, connections, pipelining, plans } = TUNED[MODE] ?? fail(`MODE is each or batch, not ${MODE}`);
const pool = new pg.Pool({
  connectionString: DATABASE_URL,
  options: `-c plan_cache_mode=${plans}`,
  min: connections,
  max: connections,
});
pool.on("error", fail);

const connection = new IORedis(REDIS_URL, { maxRetriesPerRequest: null, enableAutoPipelining: pipelining });
const store = MODE === "each" ? eachByItself() : inBatches();
// A job's result would be kept with it: there is none.
const worker = new Worker("uploads", (job) => store(job.data).then(() => undefined), { connection, concurrency });
worker.on("error", fail);
worker.on("failed", (_, error) => fail(error));

process.once("SIGTERM", async () => {
  await worker.close();
  await connection.quit();
  await pool.end();
});
