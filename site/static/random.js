// PyTorch's random numbers on a CPU: the same seed gives the same adapter and the same order of rows as in Python, so the
// losses in the page can be compared with the notebook's, number by number. Held equal by a test.
//
// Not here: the normal distribution, and draws of more than 32 bits.

const SIZE = 624, MIDDLE = 397;

// The Mersenne Twister (MT19937).
export class Generator {
  constructor(seed) {
    this.state = new Uint32Array(SIZE);
    this.place = SIZE;
    this.state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(before ^ (before >>> 30), 1812433253) + i;
    }
  }

  // A whole number from 0 to 2³² - 1.
  next() {
    if (this.place === SIZE) this.refill();
    let y = this.state[this.place++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  refill() {
    const { state } = this;
    for (let i = 0; i < SIZE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + MIDDLE) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.place = 0;
  }

  // As tensor.uniform_(-bound, bound) in float32: 24 random bits for each number.
  uniform(bound, numbers) {
    const low = Math.fround(-bound), width = Math.fround(Math.fround(bound) - low);
    for (let i = 0; i < numbers.length; i++) numbers[i] = (this.next() & 0xffffff) * 2 ** -24 * width + low;
  }

  // As torch.randperm(count).
  permutation(count) {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = 0; i < count - 1; i++) {
      const j = i + (this.next() % (count - i));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
