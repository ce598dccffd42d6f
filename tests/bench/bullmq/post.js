/*
 * post.js fill|work FILE N - deliveries through BullMQ: the same requests, as
 * its users write them
 *
 *   fill  empties the queue and puts N jobs in it
 *   work  says "ready", then runs N jobs at a time from the first line on stdin
 *         until stdin ends; then finishes those, and prints {done, failed}
 *
 * FILE is JSON: redis (path of a socket), prefix, url, secret, headers and body
 * of a delivery; rows and database: of a MongoDB in which each delivery has a
 * row, changed before the request and after it, or "". Each attempt is signed
 * anew; ids differ from job to job.
 */
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";

import { Queue, Worker } from "bullmq";
import { MongoClient } from "mongodb";

const [mode, file, count] = process.argv.slice(2);
const what = JSON.parse(readFileSync(file, "utf8"));
const n = Number(count);
const QUEUE = "deliveries";
const BATCH = 1000;
const TIMEOUT_MS = 5000;
const how = { connection: { path: what.redis }, prefix: what.prefix };
// waited for as ours are: by the primary alone
const client = what.rows
  ? new MongoClient(what.rows, { writeConcern: { w: 1 } })
  : null;
const rows = client?.db(what.database).collection("deliveries");

/* ---- a delivery */

const agent = new http.Agent({ keepAlive: true, maxSockets: n });
const key = Buffer.from(what.secret.replace(/^whsec_/, ""), "base64");

function headersOf(job) {
  const seconds = Math.floor(Date.now() / 1000);
  const signed = `${job.data.messageId}.${seconds}.${job.data.body}`;
  const mac = createHmac("sha256", key).update(signed).digest("base64");
  return {
    ...what.headers,
    "X-Delivery-ID": job.id,
    "X-Attempt-Number": String(job.attemptsMade + 1),
    "X-Delivery-Timestamp": new Date().toISOString(),
    "webhook-id": job.data.messageId,
    "webhook-timestamp": String(seconds),
    "webhook-signature": `v1,${mac}`,
    "Content-Length": Buffer.byteLength(job.data.body),
  };
}

function post(job) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      what.url,
      { method: "POST", agent, headers: headersOf(job), timeout: TIMEOUT_MS },
      (reply) => {
        reply.resume();
        reply.on("error", reject);
        reply.on("end", () =>
          reply.statusCode >= 200 && reply.statusCode < 300
            ? resolve(reply.statusCode)
            : reject(new Error(`status ${reply.statusCode}`)),
        );
      },
    );
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", reject);
    request.end(job.data.body);
  });
}

async function deliver(job) {
  if (!rows) return post(job);
  const started = new Date();
  const which = { _id: job.id, state: { $ne: "done" } };
  const row = await rows.findOneAndUpdate(
    which,
    { $set: { state: "sending", started }, $inc: { starts: 1 } },
    { returnDocument: "after" },
  );
  if (!row) return null;
  const code = await post(job);
  const attempt = { n: row.starts, at: started, ms: new Date() - started, code };
  await rows.updateOne(
    { _id: job.id },
    { $set: { state: "done" }, $push: { attempts: attempt } },
  );
  return code;
}

/* ---- modes */

function newJob() {
  const id = randomBytes(20).toString("hex");
  return {
    name: "delivery",
    data: { messageId: `msg_${id.slice(0, 27)}`, body: what.body },
    opts: {
      jobId: `${what.headers["X-Webhook-ID"]}-${id}`,
      attempts: 4,
      backoff: { type: "exponential", delay: 1000 },
      removeOnComplete: true,
    },
  };
}

function rowOf(job) {
  const { messageId, body } = job.data;
  return { _id: job.opts.jobId, state: "waiting", messageId, body };
}

async function fill() {
  const queue = new Queue(QUEUE, how);
  await queue.obliterate({ force: true });
  await rows?.deleteMany({});
  for (let left = n; left > 0; left -= BATCH) {
    const jobs = Array.from({ length: Math.min(left, BATCH) }, newJob);
    await rows?.insertMany(jobs.map(rowOf));
    await queue.addBulk(jobs);
  }
  await queue.close();
}

async function work() {
  const told = { done: 0, failed: 0 };
  const worker = new Worker(QUEUE, deliver, {
    ...how,
    concurrency: n,
    autorun: false,
  });
  worker.on("completed", () => told.done++);
  worker.on("failed", () => told.failed++);
  worker.on("error", (error) => console.error(error.message));
  await worker.waitUntilReady();
  console.log("ready");
  const lines = createInterface({ input: process.stdin });
  lines.once("line", () => worker.run());
  await new Promise((resolve) => lines.once("close", resolve));
  await worker.close();
  agent.destroy();
  console.log(JSON.stringify(told));
}

await { fill, work }[mode]();
await client?.close();
