// The loss of a run, drawn while it runs: the colors and the strokes of the explorables, at the width of its box.
//
// Not here: the run (trainer.js), and the same picture in JupyterLab (minilora/figures/dashboard.py).

const NEUTRAL = "#8a8a8a", TRAINABLE = "#d18301"; // minilora/figures/colors.py
const HEIGHT = 250, TOP = 56, BOTTOM = HEIGHT - 48, LEFT = 32;

// A drawing as text, and its sentence; state: what stands behind the step, "about 20 s to go" for example.
export function lossChart(losses, steps, state, wide) {
  const now = smooth(losses).at(-1), right = wide - 12;
  const sentence = `Step ${losses.length} of ${steps}: loss ${losses[0].toFixed(2)} at first, ${now.toFixed(2)} now.`;
  const ticks = marks(Math.min(...losses), Math.max(...losses));
  const x = (step) => LEFT + (right - LEFT) * step / steps;
  const y = (loss) => BOTTOM - (BOTTOM - TOP) * (loss - ticks[0]) / (ticks.at(-1) - ticks[0]);
  const parts = [
    text(0, 16, `Loss ${losses[0].toFixed(2)} → ${now.toFixed(2)} nats per token`, 'font-size="16" font-weight="600"'),
    text(0, 38, `step ${losses.length} of ${steps}${state ? `, ${state}` : ""}`),
    ...ticks.map((tick) => line(x(0), y(tick), right, y(tick), `stroke="${NEUTRAL}" stroke-dasharray="2 4"`)),
    ...ticks.map((tick) => text(LEFT - 8, y(tick) + 5, String(tick), 'text-anchor="end"')),
    line(LEFT, BOTTOM, right, BOTTOM, 'stroke="currentColor"'),
    ...[0, steps / 2, steps].map((step) => text(x(step), BOTTOM + 20, String(step), 'text-anchor="middle"')),
    curve(losses, x, y, `stroke="${NEUTRAL}" stroke-width="1"`),
    curve(smooth(losses), x, y, `stroke="${TRAINABLE}" stroke-width="3"`),
    text(0, HEIGHT - 4, "gray: each step; amber: running average"),
  ];
  return { sentence, svg: `<svg viewBox="0 0 ${wide} ${HEIGHT}" width="${wide}" height="${HEIGHT}" role="img" ` +
    `aria-label="${sentence}" font-family="system-ui, sans-serif" font-size="14" fill="currentColor">` +
    `${parts.join("")}</svg>` };
}

// A running mean that forgets, unbiased from the first step on, as `smooth` in minilora/figures/dashboard.py.
function smooth(losses, share = 0.9) {
  let total = 0, weight = 0;
  return losses.map((loss) => {
    total = share * total + (1 - share) * loss;
    weight = share * weight + (1 - share);
    return total / weight;
  });
}

// Round losses around all of them, at most six.
function marks(low, high) {
  const unit = [0.1, 0.2, 0.5, 1, 2, 5].find((size) => (high - low) / size <= 4) ?? 10;
  const first = Math.floor(low / unit), last = Math.max(Math.ceil(high / unit), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * unit).toFixed(1)));
}

const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${words}</text>`;

const line = (x1, y1, x2, y2, more) =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" ${more}/>`;

function curve(losses, x, y, more) {
  const points = losses.map((loss, i) => `${x(i + 1).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  return `<polyline points="${points}" fill="none" stroke-linejoin="round" ${more}/>`;
}
