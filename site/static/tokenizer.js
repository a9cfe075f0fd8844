// Byte-level BPE, as in tokenizer.json: text to token numbers and back. Held equal to Python's `tokenizers` by a test.
//
// Not here: other kinds of tokenizers, and pieces of text that are no BPE (normalizers, templates).

// The pattern of the tiny GPT's tokenizer. subtle: Python's \s is White_Space, and JavaScript's \s is not quite that.
const SPACE = "\\p{White_Space}";
const PIECES = new RegExp(
  `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}| ?[^${SPACE}\\p{L}\\p{N}]+\\n*|\\n+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  "gu",
);

export class Tokenizer {
  constructor({ model, added_tokens }) {
    this.numbers = new Map(Object.entries(model.vocab));
    this.tokens = [];
    for (const [token, number] of this.numbers) this.tokens[number] = token;
    this.ranks = new Map(model.merges.map((pair, rank) => [Array.isArray(pair) ? pair.join(" ") : pair, rank]));
    this.special = new Map(added_tokens.map(({ content, id }) => [content, id]));
    this.letters = byteLetters();
    this.bytes = new Map(this.letters.map((letter, byte) => [letter, byte]));
    this.known = new Map(); // piece -> its numbers: most words come again
  }

  encode(text) {
    const numbers = [];
    for (const part of this.splitAtSpecial(text)) {
      if (this.special.has(part)) numbers.push(this.special.get(part));
      else for (const [piece] of part.matchAll(PIECES)) numbers.push(...this.encodePiece(piece));
    }
    return numbers;
  }

  decode(numbers) {
    const bytes = [];
    for (const number of numbers) {
      const token = this.tokens[number];
      if (!this.special.has(token)) for (const letter of token) bytes.push(this.bytes.get(letter));
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(bytes));
  }

  splitAtSpecial(text) {
    const names = [...this.special.keys()].map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return names.length ? text.split(new RegExp(`(${names.join("|")})`)) : [text];
  }

  // Joins the neighbors that were joined first when the tokenizer was trained, until no known pair is left.
  encodePiece(piece) {
    if (this.known.has(piece)) return this.known.get(piece);
    let parts = [...new TextEncoder().encode(piece)].map((byte) => this.letters[byte]);
    for (;;) {
      let best = Infinity, place = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < best) [best, place] = [rank, i];
      }
      if (place < 0) break;
      parts.splice(place, 2, parts[place] + parts[place + 1]);
    }
    const numbers = parts.map((part) => this.numbers.get(part));
    this.known.set(piece, numbers);
    return numbers;
  }
}

// GPT-2's table: a printable letter for each byte; those that have none get the letters from 256 on.
function byteLetters() {
  const letters = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push(String.fromCodePoint(printable ? byte : next++));
  }
  return letters;
}
