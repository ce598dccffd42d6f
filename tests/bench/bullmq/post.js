/*
 * post.js FILL|WORK FILE N - deliveries through BullMQ: the same requests, as
 * its users write them
 *
 *   fill  empties the queue and puts N jobs in it, paused
 *   work  says "ready", then runs N jobs at a time from the first line on stdin
 *         until stdin ends; then finishes those, and prints {done, failed}
 *
 * FILE is JSON: redis (path of a socket), prefix, url, secret, headers and body
 * of a delivery. Each attempt is signed anew; ids differ from job to job.
 */
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";

import { Queue, Worker } from "bullmq";

const [mode, file, count] = process.argv.slice(2);
const what = JSON.parse(readFileSync(file, "utf8"));
const n = Number(count);
const QUEUE = "deliveries";
const BATCH = 1000;
const TIMEOUT_MS = 5000;
const how = { connection: { path: what.redis }, prefix: what.prefix };

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

function deliver(job) {
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

async function fill() {
  const queue = new Queue(QUEUE, how);
  await queue.obliterate({ force: true });
  await queue.pause();
  for (let left = n; left > 0; left -= BATCH) {
    await queue.addBulk(Array.from({ length: Math.min(left, BATCH) }, newJob));
  }
  await queue.resume();
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
