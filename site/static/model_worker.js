// The tiny GPT with its adapters, in a worker of the reader's browser. The graph was traced from the course's model;
// this file feeds it one token after the other, and chooses the next one.
//
// Not here: the model (minilora/gpt.py, minilora/lora), how it is exported (site/exporting.py), the page (switch.js).
import * as ort from "./onnxruntime-web/ort.wasm.min.mjs";
import { Tokenizer } from "./tokenizer.js";

const here = new URL(".", import.meta.url);
ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = new URL("onnxruntime-web/", here).href;
let bytes = 0; // downloaded so far

let newest = 0; // a newer request ends an older one
const ready = load();
ready.catch((error) => self.postMessage({ failed: String(error.message ?? error) }));

async function load() {
  const model = new URL("model/", here);
  const [facts, tokenizer, weights, runtime] = await Promise.all([
    fetch(new URL("model.json", model)).then((reply) => reply.json()),
    fetch(new URL("tokenizer.json", model)).then((reply) => reply.json()),
    download(new URL("model.onnx.gzip", model)),
    download(new URL("onnxruntime-web/ort-wasm-simd-threaded.wasm.gzip", here)),
  ]);
  ort.env.wasm.wasmBinary = runtime;
  const session = await ort.InferenceSession.create(interleaved(weights), { executionProviders: ["wasm"] });
  self.postMessage({ loaded: facts.voices });
  return { facts, session, tokenizer: new Tokenizer(tokenizer) };
}

// The files are compressed by us: not every host does it on the way.
async function download(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url.pathname}: ${reply.status}`);
  const count = new TransformStream({
    transform(part, out) {
      bytes += part.length;
      self.postMessage({ bytes });
      out.enqueue(part);
    },
  });
  const whole = reply.body.pipeThrough(count).pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(whole).arrayBuffer());
}

// The file holds every second byte, then the others (site/finishing.py).
function interleaved(halves) {
  const whole = new Uint8Array(halves.length), middle = Math.ceil(halves.length / 2);
  for (let i = 0; i < middle; i++) whole[2 * i] = halves[i];
  for (let i = middle; i < halves.length; i++) whole[2 * (i - middle) + 1] = halves[i];
  return whole;
}

self.onmessage = async ({ data }) => {
  newest = data.number;
  try {
    const parts = await ready;
    if (data.prompt !== undefined) await write(parts, data);
  } catch (error) {
    self.postMessage({ number: data.number, error: String(error.message ?? error) });
  }
};

// Continues a prompt; sends the text so far after each token. strengths: one for each voice, 0 leaves it out.
async function write({ facts, session, tokenizer }, { number, prompt, strengths, maxTokens, temperature, topK, seed }) {
  const ids = tokenizer.encode(prompt);
  if (!ids.length) throw new Error("the opening is empty; write a few words");
  if (ids.length + maxTokens > facts.context) throw new Error(`the opening is too long: ${ids.length} tokens`);
  const random = generator(seed), begin = performance.now(), made = [];
  const run = stepper(facts, session, strengths);
  let scores;
  for (const id of ids) scores = await run(id);
  for (;;) {
    const id = choose(scores, temperature, topK, random);
    if (facts.stop.includes(id)) break;
    made.push(id);
    const text = tokenizer.decode(made); // a token may be half a letter, so all are decoded
    self.postMessage({ number, text, tokens: made.length, ms: performance.now() - begin });
    await breath();
    if (newest !== number) return;
    if (made.length === maxTokens) break;
    scores = await run(id);
  }
  self.postMessage({ number, done: true, ids: made, ms: performance.now() - begin });
}

function stepper(facts, session, strengths) {
  let past = new ort.Tensor("float32", new Float32Array(0), facts.past);
  let position = 0;
  const fixed = new ort.Tensor("float32", Float32Array.from(strengths), [strengths.length]);
  return async (id) => {
    const result = await session.run({
      token: new ort.Tensor("int64", BigInt64Array.of(BigInt(id)), [1, 1]),
      position: new ort.Tensor("int64", BigInt64Array.of(BigInt(position++)), [1]),
      past,
      strengths: fixed,
    });
    past = result.present;
    return result.scores.data;
  };
}

// The most likely token at temperature 0; else a draw among the topK most likely.
export function choose(scores, temperature, topK, random) {
  if (temperature === 0) return scores.reduce((best, score, id) => (score > scores[best] ? id : best), 0);
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, topK);
  const weights = order.map((id) => Math.exp((scores[id] - scores[order[0]]) / temperature));
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
  return order[Math.max(0, weights.findIndex((weight) => (left -= weight) < 0))];
}

// Mulberry32: the same seed gives the same text.
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Lets messages in between two tokens.
const { port1, port2 } = new MessageChannel();
port1.start();
const breath = () => new Promise((resolve) => {
  port1.addEventListener("message", resolve, { once: true });
  port2.postMessage(0);
});
