// The switch: one model, one opening, several voices. It starts with texts that were written when the site was built;
// at a click the model itself comes into the page, and takes any opening, strength and blend.
//
// Not here: the model (model_worker.js), the texts (site/voices.py), and training a voice (trainer.js).
import { element, makeControl } from "./controls.js";

const OWN = "own"; // the voice that the reader trains (trainer.js)
const NAMES = { none: "Storyteller", legal: "Lawyer", support: "Support desk", code: "Programmer" };
const STRENGTHS = ["0", "0.25", "0.5", "0.75", "1", "1.25", "1.5"];
const TEMPERATURES = ["0", "0.3", "0.5", "0.7", "0.9", "1.1"];
const MAX_TOKENS = 60;

export async function showSwitches(page = document) {
  for (const still of page.querySelectorAll('.explorable[data-name="AdapterSwitcher"]')) {
    still.after(element("div", { className: "switch" }));
  }
  const switches = [];
  for (const node of page.querySelectorAll(".switch")) switches.push(new Switch(node, await written()));
  return switches;
}

async function written() {
  const reply = await fetch(new URL("model/voices.json", import.meta.url));
  if (!reply.ok) throw new Error(`voices.json: ${reply.status}`);
  return reply.json();
}

class Switch {
  constructor(node, { megabytes, texts }) {
    Object.assign(this, { texts, voice: "legal", second: "none", strength: 1, temperature: 0.7, seed: 1, number: 0 });
    this.megabytes = megabytes;
    this.opening = Object.keys(texts)[0];
    this.openings = element("div", { className: "controls" });
    this.voices = element("div", { className: "controls" });
    this.text = element("p", { className: "story" });
    this.note = element("p", { className: "note" });
    this.note.setAttribute("role", "status");
    this.more = element("div", { className: "more" });
    this.load = element("button", {
      type: "button", className: "load",
      textContent: `Run the model in this page, with your own words (${megabytes} MB)`,
    });
    this.load.addEventListener("click", () => this.start().catch(() => {}));
    this.more.append(this.load);
    this.openings.append(makeControl(
      { kind: "choice", label: "Opening", words: Object.keys(texts), place: 0 },
      (place) => { this.opening = Object.keys(texts)[place]; this.write(); },
    ));
    this.makeVoices();
    node.replaceChildren(this.openings, this.voices, this.text, this.note, this.more);
    this.write();
  }

  makeVoices() {
    this.group = element("div", { className: "voices", role: "group" });
    this.group.setAttribute("aria-label", "Voice");
    this.buttons = [];
    for (const [voice, words] of Object.entries(NAMES)) this.addVoice(voice, words);
    this.voices.append(this.group);
  }

  addVoice(voice, words) {
    const button = element("button", { type: "button", textContent: words });
    button.addEventListener("click", () => { this.voice = voice; this.write(); });
    button.dataset.voice = voice;
    this.buttons.push(button);
    this.group.append(button);
  }

  // The reader has trained one: it joins the others, and writes.
  showOwn() {
    if (!this.buttons.some(({ dataset }) => dataset.voice === OWN)) {
      this.addVoice(OWN, "Yours");
      this.keys.push(OWN);
      this.blend.querySelector("select").append(element("option", { textContent: "Yours" }));
    }
    this.voice = OWN;
    this.write();
  }

  write() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", button.dataset.voice === this.voice);
    this.number += 1;
    if (this.worker) this.ask();
    else this.type(this.texts[this.opening][this.voice]);
  }

  show(text) {
    this.text.replaceChildren(element("b", { textContent: this.opening }), text);
  }

  // Shows a stored text piece by piece, as the model writes; at once for readers who want no motion.
  type(text) {
    const number = this.number, pieces = text.match(/\s*\S+/g) ?? [];
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.show(text);
    this.show("");
    let shown = 0;
    const timer = setInterval(() => {
      if (number !== this.number || shown >= pieces.length) return clearInterval(timer);
      shown += 1;
      this.show(pieces.slice(0, shown).join(""));
    }, 45);
  }

  // -- with the model in the page --------------------------------------------------------------------------------

  // Resolves to the model's worker once it can write.
  start() {
    this.loading ??= this.loadModel().catch((error) => {
      this.loading = undefined;
      this.fail(error.message);
      throw error;
    });
    return this.loading;
  }

  loadModel() {
    this.load.disabled = true;
    this.load.textContent = "Loading …";
    const worker = new Worker(new URL("model_worker.js", import.meta.url), { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onerror = (event) => { event.preventDefault(); reject(new Error(event.message || "the worker did not start")); };
      worker.onmessage = ({ data }) => {
        if (data.failed) reject(new Error(data.failed));
        else if (data.loaded) {
          this.alive(worker, data.loaded);
          resolve(worker);
        } else if (data.bytes) this.load.textContent = `Loading … ${(data.bytes / 1e6).toFixed(1)} MB`;
        else if (data.number === this.number) this.hear(data);
      };
    });
  }

  fail(reason) {
    this.load.disabled = false;
    this.load.textContent = "Try again";
    this.note.textContent = `The model could not be loaded (${reason}). The stored texts still work.`;
  }

  alive(worker, voices) {
    Object.assign(this, { worker, order: [...voices, OWN], keys: Object.keys(NAMES) });
    const words = Object.values(NAMES);
    const opening = element("input", { type: "text", value: this.opening, maxLength: 400 });
    opening.addEventListener("input", () => { this.opening = opening.value; this.write(); });
    const label = element("label", { className: "control opening" });
    label.append(element("span", { textContent: "Opening" }), opening);
    this.openings.replaceChildren(label);
    const again = element("button", { type: "button", textContent: "Another text" });
    again.addEventListener("click", () => { this.seed += 1; this.write(); });
    this.blend = makeControl(
      { kind: "choice", label: "Blend half and half with", words: ["nobody", ...words.slice(1)], place: 0 },
      (place) => { this.second = this.keys[place]; this.write(); },
    );
    this.more.className = "controls";
    this.more.replaceChildren(
      makeControl({ kind: "slider", label: "Strength", words: STRENGTHS, place: 4 },
        (place) => { this.strength = Number(STRENGTHS[place]); this.write(); }),
      makeControl({ kind: "slider", label: "Temperature", words: TEMPERATURES, place: 3 },
        (place) => { this.temperature = Number(TEMPERATURES[place]); this.write(); }),
      this.blend,
      again,
    );
    this.write();
  }

  strengths() {
    const blended = this.voice !== "none" && this.second !== "none" && this.second !== this.voice;
    return this.order.map((name) => {
      if (name === this.voice) return blended ? this.strength / 2 : this.strength;
      return blended && name === this.second ? this.strength / 2 : 0;
    });
  }

  ask() {
    this.worker.postMessage({
      number: this.number, prompt: this.opening, strengths: this.strengths(), maxTokens: MAX_TOKENS,
      temperature: this.temperature, topK: 50, seed: this.seed,
    });
  }

  hear({ text, tokens, ms, error, done }) {
    if (error) return this.show(` … ${error}`);
    if (done) return;
    this.show(text);
    this.note.textContent = `In this tab: ${tokens} tokens, ${Math.round(tokens / (ms / 1000))} per second.`;
  }
}
