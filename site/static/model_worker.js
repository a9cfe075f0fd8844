// The model in a worker of the reader's browser: it answers the page's requests to write, to train, and to stop.
//
// Not here: the model (model.js), training (training.js), the page (switch.js, trainer.js).
import { adapterFolder } from "./adapter_file.js";
import { choose, generator, loadModel, stepper } from "./model.js";
import { loadTraining, Training } from "./training.js";

let newest = 0; // a newer request to write ends an older one
let stopped = false; // the training
let own; // the reader's newest adapter, its matrices one after the other, from its first step on
let trainer; // the graph of a training step, loaded at the first training
const ready = loadModel((bytes) => self.postMessage({ bytes }));
ready.then(({ facts }) => self.postMessage({ loaded: facts.voices }))
  .catch((error) => self.postMessage({ failed: words(error) }));

self.onmessage = async ({ data }) => {
  if (data.stop) stopped = true;
  if (data.train) return train(data.train).catch((error) => self.postMessage({ training: { error: words(error) } }));
  if (data.folder) return self.postMessage({ folder: adapterFolder(data.folder, (await trainer).facts, own) });
  if (data.prompt === undefined) return;
  newest = data.number;
  try {
    await write(await ready, data);
  } catch (error) {
    self.postMessage({ number: data.number, error: words(error) });
  }
};

const words = (error) => String(error.message ?? error);

// Continues a prompt; sends the text so far after each token. strengths: one for each voice, 0 leaves it out.
async function write(model, { number, prompt, strengths, maxTokens, temperature, topK, seed }) {
  const begin = performance.now(), made = [];
  for await (const text of continued(model, { prompt, strengths, maxTokens, temperature, topK, seed }, made)) {
    self.postMessage({ number, text, tokens: made.length, ms: performance.now() - begin });
    await breath();
    if (newest !== number) return;
  }
  self.postMessage({ number, done: true, ids: made, ms: performance.now() - begin });
}

// The text so far, after each token; the tokens are added to `made`.
async function* continued(model, { prompt, strengths, maxTokens, temperature, topK, seed }, made, adapter = own) {
  const { facts, tokenizer } = model;
  const ids = tokenizer.encode(prompt);
  if (!ids.length) throw new Error("the opening is empty; write a few words");
  if (ids.length + maxTokens > facts.context) throw new Error(`the opening is too long: ${ids.length} tokens`);
  const random = generator(seed), run = stepper(model, strengths, adapter);
  let scores;
  for (const id of ids) scores = await run(id);
  while (made.length < maxTokens) {
    const id = choose(scores, temperature, topK, random);
    if (facts.stop.includes(id)) return;
    made.push(id);
    yield tokenizer.decode(made); // a token may be half a letter, so all are decoded
    if (made.length < maxTokens) scores = await run(id);
  }
}

// Trains an adapter on rows of tokens: sends each loss, and what the adapter writes before the first step, after every
// `every` steps, and at the end.
async function train({ rows, steps, every, seed = 0, sample }) {
  stopped = false;
  const send = (training) => self.postMessage({ training });
  const model = await ready;
  trainer ??= loadTraining(model.file).catch((error) => { trainer = undefined; throw error; });
  const training = new Training(await trainer, rows, { steps, seed });
  const strengths = [...model.facts.voices.map(() => 0), 1];
  const show = async () => {
    let text = "";
    for await (text of continued(model, { ...sample, strengths }, [], training.adapter));
    send({ step: training.step, sample: text });
  };
  await show();
  while (training.step < steps && !stopped) {
    const begin = performance.now(), loss = await training.takeStep();
    own = training.adapter;
    send({ step: training.step, loss, ms: performance.now() - begin });
    await breath();
    if (training.step % every === 0 || training.step === steps || stopped) await show();
  }
  send({ step: training.step, done: true });
}

// Lets messages in between two tokens or steps.
const { port1, port2 } = new MessageChannel();
port1.start();
const breath = () => new Promise((resolve) => {
  port1.addEventListener("message", resolve, { once: true });
  port2.postMessage(0);
});
