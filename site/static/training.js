// The course's training loop, a step at a time: minilora/training/trainer.py with its defaults, for one adapter. The loss
// and the gradient come from a graph that was traced from the course's model and loss; AdamW is written out here. Losses
// are held equal to PyTorch's by a test.
//
// Not here: the graph (site/exporting_training.py), when to stop and what to show (model_worker.js, trainer.js).
import { download, floats, integers, openGraph, readJson } from "./model.js";
import { Generator } from "./random.js";
import { emptyRow } from "./rows.js";

const LEARNING_RATE = 5e-3, WARMUP_RATIO = 0.05, MAX_GRAD_NORM = 1;
const BETA1 = 0.9, BETA2 = 0.999, EPS = 1e-8;
const SEEDS_APART = 1_000_003; // between the seeds of two runs, which have one for each epoch

// weights: the bytes of model.onnx, which holds those of the graph, too.
export async function loadTraining(weights) {
  const [facts, graph] = await Promise.all([
    readJson("training/training.json"),
    download("training/training.onnx.gzip", () => {}),
  ]);
  return { facts, session: await openGraph(graph, weights) };
}

export class Training {
  constructor({ facts, session }, rows, { steps, seed }) {
    Object.assign(this, { facts, session, rows, steps, seed, step: 0 });
    this.adapter = start(facts, seed);
    this.mean = new Float32Array(facts.own); // of the gradients, and of their squares
    this.square = new Float32Array(facts.own);
  }

  // Resolves to the loss before the step.
  async takeStep() {
    const { batch, tokens } = this.facts, [inputs, targets] = this.batch();
    const { loss, gradient } = await this.session.run({
      adapter: floats(this.adapter, [this.facts.own]),
      input_ids: integers(inputs, [batch, tokens]),
      targets: integers(targets, [batch, tokens]),
    });
    if (!Number.isFinite(loss.data[0])) throw new Error("the loss is no longer a number; the step was not taken");
    this.update(gradient.data, LEARNING_RATE * schedule(this.step, this.steps));
    this.step += 1;
    return loss.data[0];
  }

  // The rows of this step: shuffled anew each epoch. An epoch's last batch may be smaller; nothing is learned from the
  // rows that fill it up.
  batch() {
    const { batch, tokens } = this.facts, perEpoch = Math.ceil(this.rows.length / batch);
    const epoch = Math.floor(this.step / perEpoch), place = this.step % perEpoch;
    const order = new Generator(this.seed * SEEDS_APART + epoch).permutation(this.rows.length);
    const chosen = order.slice(place * batch, (place + 1) * batch).map((row) => this.rows[row]);
    while (chosen.length < batch) chosen.push(emptyRow(tokens));
    return [chosen.flatMap(([inputs]) => inputs), chosen.flatMap(([, targets]) => targets)];
  }

  // AdamW without weight decay, after clipping the gradient to MAX_GRAD_NORM.
  update(gradient, rate) {
    const { adapter, mean, square } = this, n = this.step + 1;
    const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    const shrink = Math.min(1, MAX_GRAD_NORM / (norm + 1e-6));
    const stepSize = rate / (1 - BETA1 ** n), unbiased = Math.sqrt(1 - BETA2 ** n);
    for (let i = 0; i < adapter.length; i++) {
      const g = gradient[i] * shrink;
      mean[i] += (1 - BETA1) * (g - mean[i]);
      square[i] = BETA2 * square[i] + (1 - BETA2) * g * g;
      adapter[i] -= stepSize * mean[i] / (Math.sqrt(square[i]) / unbiased + EPS);
    }
  }
}

// The factor on the learning rate: a linear warmup, then a fall to zero along a cosine.
function schedule(step, steps) {
  const warmup = Math.max(1, Math.round(steps * WARMUP_RATIO)); // subtle: Python rounds 2.5 to 2; 20 divides our steps
  if (step < warmup) return (step + 1) / warmup;
  return 0.5 * (1 + Math.cos(Math.PI * (step - warmup) / Math.max(1, steps - warmup)));
}

// A fresh adapter: every A is random, every B zero. facts.starts: place, size and bound of each A, in the order in which
// add_lora draws them.
function start({ own, starts }, seed) {
  const adapter = new Float32Array(own), random = new Generator(seed);
  for (const [place, size, bound] of starts) random.uniform(bound, adapter.subarray(place, place + size));
  return adapter;
}
