// The tiny GPT with its adapters. The graph was traced from the course's model; this file feeds it one token after the
// other, and chooses the next one.
//
// Not here: the model (minilora/gpt.py, minilora/lora), how it is exported (site/exporting.py), messages from the page
// (model_worker.js), and training (training.js).
import * as ort from "./onnxruntime-web/ort.wasm.min.mjs";
import { Tokenizer } from "./tokenizer.js";

const here = new URL(".", import.meta.url);
ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = new URL("onnxruntime-web/", here).href;

// onBytes hears how much has been downloaded so far.
export async function loadModel(onBytes) {
  let bytes = 0;
  const count = (more) => onBytes((bytes += more));
  const [facts, tokenizer, halves, runtime] = await Promise.all([
    readJson("model/model.json"),
    readJson("model/tokenizer.json"),
    download("model/model.onnx.gzip", count),
    download("onnxruntime-web/ort-wasm-simd-threaded.wasm.gzip", count),
  ]);
  ort.env.wasm.wasmBinary = runtime;
  const file = interleaved(halves);
  return { facts, file, session: await openGraph(file), tokenizer: new Tokenizer(tokenizer) };
}

// weights: the file that holds the graph's weights, if they are not in the graph itself.
export function openGraph(graph, weights) {
  const externalData = weights ? [{ path: "model.onnx", data: weights }] : [];
  return ort.InferenceSession.create(graph, { executionProviders: ["wasm"], externalData });
}

export async function readJson(path) {
  const reply = await fetch(new URL(path, here));
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

// The files are compressed by us: not every host does it on the way.
export async function download(path, onBytes) {
  const reply = await fetch(new URL(path, here));
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  const count = new TransformStream({
    transform(part, out) {
      onBytes(part.length);
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

// One token in, the scores of the next one out. strengths: of each voice, and last of the reader's own adapter, whose
// matrices are `own`, one after the other; it may be missing.
export function stepper({ facts, session }, strengths, own) {
  let past = new ort.Tensor("float32", new Float32Array(0), facts.past);
  let position = 0;
  const all = Float32Array.from({ length: facts.voices.length + 1 }, (_, i) => strengths[i] ?? 0);
  const fixed = {
    strengths: new ort.Tensor("float32", all, [all.length]),
    own: new ort.Tensor("float32", own ?? new Float32Array(facts.own), [facts.own]),
  };
  return async (id) => {
    const result = await session.run({
      token: integers([id], [1, 1]), position: integers([position++], [1]), past, ...fixed,
    });
    past = result.present;
    return result.scores.data;
  };
}

export function integers(numbers, shape) {
  return new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), shape);
}

export function floats(numbers, shape) {
  return new ort.Tensor("float32", numbers, shape);
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
export function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
