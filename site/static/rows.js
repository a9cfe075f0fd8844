// A text's tokens as rows to learn from, as encode_text makes them (minilora/training/datasets.py).
//
// Not here: the tokens (tokenizer.js), and the order of the rows (training.js).

const IGNORE = -100; // a target that does not count

// Each row: so many tokens, and what follows each of them. Throws if the text does not fill one batch.
export function rowsOf(ids, { tokens, batch }) {
  const needed = batch * tokens + 1;
  if (ids.length < needed) {
    const letters = Math.ceil(needed * 4 / 100) * 100;
    throw new Error(`This text has ${ids.length} tokens (short words, and parts of longer ones). Training needs at ` +
      `least ${needed}, about ${letters.toLocaleString("en")} letters: paste more, or take our example.`);
  }
  const rows = [];
  for (let start = 0; start < ids.length - 1; start += tokens) {
    const row = emptyRow(tokens), targets = ids.slice(start + 1, start + tokens + 1);
    row[0].splice(0, targets.length, ...ids.slice(start, start + targets.length));
    row[1].splice(0, targets.length, ...targets);
    rows.push(row);
  }
  return rows;
}

// Nothing is learned from it.
export function emptyRow(tokens) {
  return [Array(tokens).fill(0), Array(tokens).fill(IGNORE)];
}
