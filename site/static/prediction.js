// Predict, then see: asks for a guess, keeps it in this browser, and covers the measurement until the guess is made.
// The pictures, one for each guess, were drawn when the page was built.
//
// Not here: the questions and their answers (minilora/lesson).
import { element, makeControl } from "./controls.js";
import { states } from "./explorable.js";
import { reachable } from "./scroll.js";
import { read, write } from "./storage.js";

export function askPredictions(page = document) {
  const asked = new Map();
  for (const node of page.querySelectorAll(".prediction[data-asked]")) {
    const question = new Question(node, JSON.parse(node.dataset.asked));
    asked.set(question.id, question);
  }
  for (const node of page.querySelectorAll(".reveal[data-id]")) {
    const question = asked.get(node.dataset.id);
    if (question) question.answer(node);
  }
}

class Question {
  constructor(node, { id, question, offered, slider }) {
    Object.assign(this, { id, offered, key: `minilora/guess/${id}` });
    const { guess = null, seen = false } = read(this.key);
    Object.assign(this, { guess, seen });
    const legend = element("legend");
    legend.append(element("b", { textContent: "Your prediction. " }), question);
    this.box = element("fieldset");
    this.said = element("p", { className: "note" });
    this.said.setAttribute("aria-live", "polite");
    this.box.append(legend, slider ? this.slider() : this.buttons(), this.said);
    node.replaceChildren(this.box);
    this.show();
  }

  buttons() {
    const row = element("div", { className: "controls" });
    this.choices = this.offered.map((words, place) => {
      const button = element("button", { type: "button", textContent: words });
      button.addEventListener("click", () => this.choose(place));
      return button;
    });
    row.append(...this.choices);
    return row;
  }

  slider() {
    const row = element("div", { className: "controls" });
    let place = this.guess ?? Math.floor(this.offered.length / 2);
    const moved = { kind: "slider", label: "My guess", words: this.offered, place };
    const button = element("button", { type: "button", textContent: "This is my guess" });
    button.addEventListener("click", () => this.choose(place));
    row.append(makeControl(moved, (to) => { place = to; }), button);
    return row;
  }

  choose(place) {
    this.guess = place;
    this.keep();
    this.show();
  }

  keep() {
    write(this.key, { guess: this.guess, seen: this.seen });
  }

  show() {
    const words = this.offered[this.guess];
    this.choices?.forEach((button, place) => button.setAttribute("aria-pressed", place === this.guess));
    this.box.disabled = this.seen;
    if (this.guess === null) this.said.textContent = this.seen
      ? "You have seen the answer." : "No guess yet. A wrong guess costs nothing.";
    else this.said.textContent = this.seen
      ? `Your guess was ${words}, and you have seen the answer.`
      : `Your guess: ${words}. You can change it until you see the answer.`;
    this.showCover?.();
  }

  // Covers all that the measuring cell shows: its numbers tell the answer too.
  answer(node) {
    const outputs = node.closest(".cell_output") ?? node;
    const cover = element("div", { className: "cover" });
    const words = element("p");
    const ask = element("button", { type: "button", textContent: "Go to the question" });
    const open = element("button", { type: "button" });
    ask.addEventListener("click", () => {
      this.box.scrollIntoView({ block: "center" });
      this.box.querySelector("button, input").focus({ preventScroll: true });
    });
    open.addEventListener("click", () => { this.seen = true; this.keep(); this.show(); });
    cover.append(words, ask, open);
    outputs.before(cover);
    this.showCover = async () => {
      const guessed = this.guess !== null;
      words.textContent = guessed
        ? `Your guess: ${this.offered[this.guess]}.` : "First make a prediction: what was measured is covered until then.";
      ask.hidden = guessed;
      open.textContent = guessed ? "Show what was measured" : "Show it without a guess";
      cover.hidden = this.seen;
      outputs.hidden = !this.seen;
      if (!this.seen || !node.dataset.states) return;
      const pictures = await states(node.dataset.states);
      node.innerHTML = `<div class="picture">${pictures[guessed ? this.guess + 1 : 0]}</div>`;
      reachable(node.firstChild);
    };
    this.showCover();
  }
}
