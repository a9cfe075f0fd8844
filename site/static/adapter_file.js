// The reader's adapter as a folder that minilora and peft open, in a .zip. What stands in the two files besides the
// numbers was written by the course's own save_adapter when the site was built.
//
// Not here: reading adapters, and compression (the numbers are random to a compressor).

// name: of the folder; adapter: the matrices one after the other, as the header says.
export function adapterFolder(name, { config, header }, adapter) {
  const text = new TextEncoder();
  const head = text.encode(header.padEnd(Math.ceil(header.length / 8) * 8)); // numbers start at a multiple of 8 bytes
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(head.length), true);
  const weights = joined([length, head, new Uint8Array(adapter.slice().buffer)]);
  return zip([[`${name}/adapter_config.json`, text.encode(config)], [`${name}/adapter_model.safetensors`, weights]]);
}

// A .zip of files stored as they are: before each its local header; at the end a list of all, and where the list is.
export function zip(files) {
  const parts = [], list = [];
  let place = 0;
  for (const [name, data] of files) {
    const words = new TextEncoder().encode(name);
    const about = fields([[20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2], [checksum(data), 4], [data.length, 4],
      [data.length, 4], [words.length, 2], [0, 2]]); // version, flags, method, time, date (1980-01-01), ...
    list.push(fields([[0x02014b50, 4], [20, 2]]), about, fields([[0, 2], [0, 2], [0, 2], [0, 4], [place, 4]]), words);
    parts.push(fields([[0x04034b50, 4]]), about, words, data);
    place += 4 + about.length + words.length + data.length;
  }
  const size = list.reduce((sum, part) => sum + part.length, 0);
  const end = fields([[0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [place, 4], [0, 2]]);
  return joined([...parts, ...list, end]);
}

// Whole numbers, each in so many bytes, the lowest first.
function fields(numbers) {
  return Uint8Array.from(numbers.flatMap(([number, bytes]) =>
    Array.from({ length: bytes }, (_, i) => (number >>> (8 * i)) & 255)));
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

// CRC-32, which every .zip has for each file.
function checksum(data) {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0);
    return byte;
  });
  let sum = 0xffffffff;
  for (const byte of data) sum = (sum >>> 8) ^ table[(sum ^ byte) & 255];
  return (sum ^ 0xffffffff) >>> 0;
}
