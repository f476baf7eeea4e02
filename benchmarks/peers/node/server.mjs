// Takes uploads as a Node service would: fastify puts each body into a file, BullMQ gets a job for it, and the client its 201. One
// process for each core. worker.mjs turns the jobs into rows. Nothing checks or limits anything: no digest, no bound on the queue.
import cluster from "node:cluster";
import { createWriteStream, mkdirSync, writeFile } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { Queue } from "bullmq";
import Fastify from "fastify";
import IORedis from "ioredis";
import { uuidv7 } from "./uuid.mjs";

const [LISTEN, OBJECTS, REDIS_URL] = ["LISTEN", "OBJECTS", "REDIS_URL"].map((name) => {
  if (!process.env[name]) throw new Error(`${name} is not set`);
  return process.env[name];
});
const PREFIX = "/v1/files/";
// A body of no more than this is gathered and written in one step, which takes two thirds of the time that a stream into its file does.
const SMALL = 64 * 1024;
// Cheaper than the one of node:fs/promises, which makes an object for each file.
const writeWhole = promisify(writeFile);

// Puts a body into a new file; how many bytes it has.
async function store(request, path) {
  if (Number(request.headers["content-length"] ?? Infinity) > SMALL) {
    const file = createWriteStream(path, { flags: "wx" });
    await pipeline(request.body, file);
    return file.bytesWritten;
  }
  const whole = await gather(request.body);
  await writeWhole(path, whole, { flag: "wx" });
  return whole.length;
}

function gather(body) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    body.on("data", (piece) => pieces.push(piece));
    body.on("end", () => resolve(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)));
    body.on("error", reject);
    body.on("close", () => reject(new Error("broken off")));
  });
}

async function serve() {
  // Pipelining what is said to Redis in one tick: the jobs of all uploads that end together go in one write.
  const connection = new IORedis(REDIS_URL, { maxRetriesPerRequest: null, enableAutoPipelining: true });
  const queue = new Queue("uploads", { connection });

  const app = Fastify({ bodyLimit: Number.MAX_SAFE_INTEGER });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, body, done) => done(null, body));
  app.get("/", async () => "ready\n");
  app.put(`${PREFIX}*`, async (request, reply) => {
    const id = uuidv7();
    const size = await store(request, join(OBJECTS, id.slice(-2), id));
    const job = {
      id,
      org: "default",
      project: "default",
      path: request.params["*"],
      size,
      crc64nvme: 0,
      content_type: request.headers["content-type"] ?? "application/octet-stream",
      sniffed_type: "application/octet-stream",
      request_id: request.id,
    };
    await queue.add("object_stored.v1", job, { jobId: id, removeOnComplete: true });
    return reply.code(201).send({ id, path: job.path, size: job.size, status: "queued" });
  });
  const [host, port] = LISTEN.split(":");
  await app.listen({ host, port: Number(port), backlog: 4096 });
}

if (cluster.isPrimary) {
  for (let shard = 0; shard < 256; shard += 1) {
    mkdirSync(join(OBJECTS, shard.toString(16).padStart(2, "0")), { recursive: true });
  }
  for (let core = 0; core < availableParallelism(); core += 1) cluster.fork();
  cluster.on("exit", (worker) => process.exit(worker.process.exitCode ?? 1));
} else {
  await serve();
}
