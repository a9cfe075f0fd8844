// A voice of the reader's own: a pasted text, a run of the course's training in this tab, and the adapter as a file. What
// it learns joins the voices of the switch. Nothing leaves the browser.
//
// Not here: the loop (training.js, in model_worker.js), the switch (switch.js), the picture (loss_chart.js).
import { element, makeControl } from "./controls.js";
import { lossChart } from "./loss_chart.js";
import { rowsOf } from "./rows.js";
import { Tokenizer } from "./tokenizer.js";

const STEPS = ["40", "60", "80", "100"];
const SAMPLE_EVERY = 10, SAMPLE_TOKENS = 40; // steps, tokens
const FOLDER = "my-style-adapter";

export class Trainer {
  constructor(node, theSwitch) {
    Object.assign(this, { theSwitch, steps: 60, running: false });
    this.text = element("textarea", { rows: 7, placeholder: "Some paragraphs by one writer, a thousand letters or more" });
    const label = element("label", { className: "pasted" });
    label.append(element("span", { textContent: "Your text" }), this.text);
    this.example = this.button("Use our example: a pirate", () => this.useExample());
    this.train = this.button("", () => this.start());
    this.train.className = "load";
    this.stop = this.button("Stop", () => {
      this.stopped = true;
      this.worker?.postMessage({ stop: true });
    });
    this.save = this.button(`Download the adapter (${FOLDER}.zip)`, () => this.worker.postMessage({ folder: FOLDER }));
    this.note = element("p", { className: "note" });
    this.note.setAttribute("role", "status");
    this.picture = element("div", { className: "loss" });
    this.samples = element("dl", { className: "samples" });
    const first = element("div", { className: "controls" }), second = element("div", { className: "controls" });
    first.append(this.example, makeControl({ kind: "choice", label: "Steps", words: STEPS, place: STEPS.indexOf("60") },
      (place) => { this.steps = Number(STEPS[place]); }));
    second.append(this.train, this.stop, this.save);
    node.replaceChildren(label, first, second, this.note, this.picture, this.samples);
    this.stop.hidden = this.save.hidden = true;
    this.nameTrain();
  }

  button(words, act) {
    const button = element("button", { type: "button", textContent: words });
    button.addEventListener("click", act);
    return button;
  }

  nameTrain() {
    const loaded = this.theSwitch.worker;
    this.train.textContent = loaded ? "Train" : `Train (loads the model first: ${this.theSwitch.megabytes} MB)`;
  }

  async useExample() {
    try {
      this.text.value = (await this.facts()).example;
      this.note.textContent = "The example is 36 short answers of a pirate. Train on them, or paste something else.";
    } catch (error) {
      this.fail(error);
    }
  }

  // What a run needs besides the model: small, and asked for once.
  async facts() {
    this.known ??= await readJson("training/training.json");
    return this.known;
  }

  async start() {
    if (this.running) return;
    Object.assign(this, { running: true, stopped: false, losses: [], times: [], planned: this.steps });
    try {
      const facts = await this.facts();
      this.tokenizer ??= new Tokenizer(await readJson("model/tokenizer.json"));
      const rows = rowsOf(this.tokenizer.encode(this.text.value), facts); // before anything large is loaded
      this.turn(true);
      this.note.textContent = this.theSwitch.worker ? "Getting ready …" : "Loading the model …";
      this.listen(await this.theSwitch.start());
      this.stopped ? this.finish(0) : this.run(rows);
    } catch (error) {
      this.fail(error);
    }
  }

  run(rows) {
    this.samples.replaceChildren();
    this.picture.replaceChildren();
    this.note.textContent = `Training on ${rows.length} rows of ${rows[0][0].length} tokens. First, what it writes now …`;
    const prompt = this.theSwitch.opening.trim() || "Once upon a time";
    const sample = { prompt, maxTokens: SAMPLE_TOKENS, temperature: 0.7, topK: 50, seed: 1 };
    this.worker.postMessage({ train: { rows, steps: this.planned, every: SAMPLE_EVERY, sample } });
    this.prompt = prompt;
  }

  listen(worker) {
    if (this.worker) return;
    this.worker = worker;
    worker.addEventListener("message", ({ data }) => {
      if (data.training) this.hear(data.training);
      if (data.folder) offer(data.folder, `${FOLDER}.zip`);
    });
  }

  hear({ step, loss, ms, sample, done, error }) {
    if (error) return this.fail(new Error(error));
    if (loss !== undefined) {
      this.losses.push(loss);
      this.times.push(ms);
      this.draw();
    }
    if (sample !== undefined) this.show(step, sample);
    if (done) this.finish(step);
  }

  draw(over = false) {
    const recent = this.times.slice(-5), each = recent.reduce((sum, ms) => sum + ms, 0) / recent.length / 1000;
    const left = Math.round(each * (this.planned - this.losses.length));
    const wide = Math.min(640, this.picture.clientWidth);
    const { svg, sentence } = lossChart(this.losses, this.planned, over ? "" : `${left} s to go`, wide);
    this.picture.innerHTML = svg;
    // A screen reader would be told sixty times; ten steps apart is enough.
    if (!over && this.losses.length % SAMPLE_EVERY === 1) this.note.textContent = sentence;
  }

  show(step, sample) {
    const words = element("dd");
    words.append(element("b", { textContent: this.prompt }), sample);
    this.samples.append(element("dt", { textContent: step ? `after ${step} steps` : "before" }), words);
  }

  finish(step) {
    this.trained ||= step > 0;
    this.turn(false);
    if (!step) {
      this.note.textContent = "Stopped before the first step.";
      return;
    }
    this.draw(true);
    const stopped = `Stopped after step ${step} of ${this.planned}; what it has learned is kept.`;
    this.note.textContent = `${step < this.planned ? stopped : "Done."} The voice is called Yours in the switch above. ` +
      "It is gone when you close this page: download it to keep it.";
    this.theSwitch.showOwn();
  }

  fail(error) {
    this.turn(false);
    this.note.textContent = error.message;
  }

  // Into a run, or out of it. The keyboard stays where the next button is.
  turn(running) {
    const focused = [this.train, this.stop].includes(document.activeElement);
    this.running = running;
    this.train.hidden = running;
    this.stop.hidden = !running;
    this.save.hidden = running || !this.trained;
    this.nameTrain();
    if (focused) (running ? this.stop : this.train).focus();
  }
}

async function readJson(path) {
  const reply = await fetch(new URL(path, import.meta.url));
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

function offer(bytes, name) {
  const link = element("a", { href: URL.createObjectURL(new Blob([bytes], { type: "application/zip" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
