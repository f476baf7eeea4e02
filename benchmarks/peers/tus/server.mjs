// The tus reference server with its file store, as its documentation sets it up: a file and a JSON of what is known of it for each
// upload. One process for each core, since a process has one thread; that would need a shared locker if an upload's requests came
// to different processes, but here each upload is one request (creation-with-upload).
import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [LISTEN, OBJECTS] = ["LISTEN", "OBJECTS"].map((name) => {
  if (!process.env[name]) throw new Error(`${name} is not set`);
  return process.env[name];
});

if (cluster.isPrimary) {
  for (let core = 0; core < availableParallelism(); core += 1) cluster.fork();
  cluster.on("exit", (worker) => process.exit(worker.process.exitCode ?? 1));
} else {
  const [host, port] = LISTEN.split(":");
  const server = new Server({ path: "/files", relativeLocation: true, datastore: new FileStore({ directory: OBJECTS }) });
  server.listen({ host, port: Number(port), backlog: 4096 });
}
