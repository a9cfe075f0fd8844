"""What comes and goes in a training step: activations, gradients, logits, and the short-lived rest.

Not here: what is there all the time (plan.py).
"""

from __future__ import annotations

from minilora.memory.catalog import ModelShape

LOGITS_AT_ONCE = 2**25  # as in training.py, which this module does not import: it needs torch
DECODED_AT_ONCE = 2**24  # as GPU_CHUNK in quantization.py
ADAPTER_BYTES = 4  # adapters are fp32 beside any base


class Step:
    """One training step. Sizes in `kept_by` methods, `block`, `missing_in_first_block` and `arriving` are per token.

    e: bytes of a number of the base. n: tokens. d, f, kv: numbers in a token's state, in the middle of the
    feed-forward, in all keys of a token. g = d · e: bytes of a token's state between two blocks, or of its gradient.
    """

    def __init__(
        self, shape: ModelShape, method: str, r: int, targets: tuple[str, ...], e: int, batch: int, length: int,
        checkpointing: bool,
    ):  # fmt: skip
        self.shape, self.r, self.targets, self.e = shape, r, targets, e
        self.length, self.checkpointing = length, checkpointing
        self.full, self.packed = method == "full", method == "qlora"
        self.n = batch * length
        self.d, self.f, self.kv = shape.hidden_size, shape.intermediate_size, shape.key_value_size
        self.g = self.d * e
        self.layers, self.heads = shape.num_hidden_layers, shape.num_attention_heads
        self.vocab = shape.vocab_size
        self.rows = min(self.n, max(1, LOGITS_AT_ONCE // self.vocab))  # tokens that the loss takes together
        self.in_pieces = self.rows < self.n
        # PyTorch has no frugal attention kernel for fp32 with shared key/value heads: it keeps every score.
        self.scores_kept = e == 4 and shape.num_key_value_heads != self.heads
        self.qkv_adapted = self.adapted("q_proj", "k_proj", "v_proj", "c_attn")
        self.gate_up_adapted = self.adapted("gate_proj", "up_proj", "c_fc")
        self.down_adapted = self.adapted("down_proj", "mlp.c_proj")
        sizes = shape.linear_layers
        adapters = self.layers * sum(r * sum(sizes[name]) for name in targets)
        self.trained = shape.parameter_count if self.full else adapters
        self.trained_bytes = e if self.full else ADAPTER_BYTES

    def adapted(self, *names: str) -> bool:
        return any(name in self.targets for name in names)

    # What one block keeps for its backward pass, bytes per token. Each is the input of an operation that needs it
    # again: norms, the three of attention, and the products that a trained matrix takes part in.

    def kept_by_norms(self) -> int:
        return 2 * (self.g + 4)  # inputs, and one fp32 scale each

    def kept_by_attention(self) -> int:
        if self.scores_kept:
            return 4 * (3 * self.d + self.heads * self.length)  # q, k and v at full width, all scores
        return self.e * (2 * self.d + 2 * self.kv) + 4 * self.heads  # q, output, k, v, and a sum per head

    def kept_by_gate(self) -> int:
        return (1 if self.shape.gpt2_layout else 3) * self.f * self.e  # GELU's input; or gate, silu(gate), up

    def kept_by_products(self) -> int:
        """Inputs of the layers that train: in the base's type for full training, in fp32 for an adapter."""
        d, f = self.d, self.f
        if self.full:
            return self.e * (2 * d + f) + (4 * d if self.scores_kept else 0)  # o_proj's is attention's output
        low = 4 * self.r * len(self.targets)
        if self.e != 4:  # a copy for each adapted layer
            return low + 4 * sum(self.shape.linear_layers[name][0] for name in self.targets)
        o_proj = self.scores_kept and self.adapted("o_proj")  # otherwise attention's output serves
        return low + 4 * (d * (self.qkv_adapted + self.gate_up_adapted + o_proj) + f * self.down_adapted)

    def block(self) -> int:
        """All that one block keeps."""
        return self.kept_by_norms() + self.kept_by_attention() + self.kept_by_gate() + self.kept_by_products()

    def missing_in_first_block(self) -> int:
        """With a frozen embedding nothing before the first adapter needs a gradient, so the first block keeps less."""
        if self.full:
            return 0
        norm = self.g + 4
        if self.qkv_adapted:
            return norm
        if self.adapted("o_proj", "c_proj"):
            output = 4 * self.d if self.e == 4 and not self.scores_kept else 0  # kept for the adapter itself
            return norm + self.kept_by_attention() - output
        used = 3 if self.shape.gpt2_layout else 2 * self.adapted("gate_proj") + self.adapted("up_proj")
        return 2 * norm + self.kept_by_attention() + self.kept_by_gate() * (3 - used) // 3

    # From here on bytes of the whole step.

    def activations(self) -> int:
        """Kept from forward to backward by all blocks."""
        if self.checkpointing:
            return self.n * self.layers * self.g + self.around_blocks()
        return self.n * (self.layers * self.block() - self.missing_in_first_block()) + self.around_blocks()

    def around_blocks(self) -> int:
        tables = 2 * self.length * self.shape.head_dim * self.e  # rotary cosine and sine
        return tables + 16 * self.n  # token numbers and targets, 8 bytes each

    def one_block_again(self) -> int:
        """With checkpointing: what the block in its backward pass keeps besides its input."""
        if not self.checkpointing:
            return 0
        kept = self.block() - (self.missing_in_first_block() if self.layers == 1 else 0)
        return self.n * (kept - self.g)

    def working_set(self) -> int:
        """Largest sum of short-lived tensors in a block, beyond what the block keeps, over the places that can win."""
        n, e, d, f, g = self.n, self.e, self.d, self.f, self.g
        # down_proj's adapter has let go of its fp32 input where the other layers of the feed-forward are at work
        released = 4 * f if self.down_adapted else 0
        places = [n * (g + (2 if self.full else 3) * e * f - released)]
        if self.down_adapted:
            places.append(n * (g * (1 if e == 4 else 2) + 4 * f))  # its gradient, in fp32
        if e != 4 and self.gate_up_adapted:
            # an adapter's output in fp32 twice, before and after scaling; at gate_proj, up_proj's is not there yet
            earlier = 0 if self.adapted("up_proj", "c_fc") else 2 * e * f
            places.append(n * (8 * f - earlier - released + g + max(g, self.arriving())))
        if self.scores_kept:
            places.append(n * (8 * self.heads * self.length + 16 * d - self.kept_by_gate()))
        if self.packed:
            places.append(self.decoding())
        return max(places)

    def arriving(self) -> int:
        """Gradients that wait while checkpointing computes a block again."""
        if not self.checkpointing:
            return 0
        if self.down_adapted:  # the gradient, for base and adapter each in its type, and scaled
            return self.g * (1 if self.e == 4 else 2) + 4 * self.d
        return self.g + (self.e * self.f if self.packed else 0)

    def decoding(self) -> int:
        """While a packed weight is decoded: the whole of it, and the pieces that are being looked up."""
        n, e, f, g, weights = self.n, self.e, self.f, self.g, self.d * self.f
        # the norm's output, where no adapter keeps it
        norm = 0 if e == 4 and self.adapted("gate_proj", "up_proj") else g
        if self.down_adapted:
            arrived = norm + self.arriving() if self.checkpointing else g * (1 if e == 4 else 2)
            waiting = arrived + (e - 4) * f
        else:
            waiting = g + (norm if self.checkpointing else e * f)
        return n * waiting + weights * e + max(6 * min(weights, DECODED_AT_ONCE), n * e * f)

    def logits(self) -> int:
        """At the loss: three fp32 numbers per score (log-probability, two gradients), in pieces if they are many."""
        return 12 * self.vocab * self.rows

    def kept_by_last_norm(self) -> int:
        """Its input and scale; its output too, if the output layer trains or is computed again in pieces."""
        return self.n * (self.g + 4 + (self.g if self.full or self.in_pieces else 0))

    def kept_by_forward(self) -> int:
        """All that the forward pass leaves for the backward pass."""
        scores = 0 if self.in_pieces else 4 * self.vocab * self.n  # their log-probabilities
        return self.activations() + self.kept_by_last_norm() + scores

    def at_the_loss(self) -> dict[str, int]:
        head = self.vocab * self.g if self.full else 0  # gradient of the output layer
        # gradients of the pieces before
        earlier = (self.n - self.rows) * self.g + (head if self.in_pieces else 0)
        product = self.e * self.vocab * self.rows + head
        return {
            "activations": self.activations(),
            "logits": self.logits(),
            "working set": self.kept_by_last_norm() + earlier + max(0, product - self.logits()),
        }

    def moments(self) -> dict[str, dict[str, int]]:
        """What comes and goes, at each moment that can be the peak."""
        n, g, tied = self.n, self.g, self.shape.tie_word_embeddings
        in_block = {"working set": self.working_set() + self.one_block_again()}
        last_block = in_block | {"activations": self.activations()}
        moments = {"at the loss": self.at_the_loss(), "in the last block's backward pass": last_block}
        if not self.full:
            adapters = self.trained * ADAPTER_BYTES
            # the new safety copy is made before the old one goes
            return moments | {"at the update": {"gradients": adapters, "working set": adapters}}
        embedding, down = self.vocab * g, self.f * g
        block = self.e * (self.trained - self.shape.embedding_weights) // self.layers
        last_block["gradients"] = embedding + down
        moments["in the first block's backward pass"] = in_block | {
            "activations": self.around_blocks() + n * (g if self.checkpointing else self.block()),
            "gradients": self.e * self.trained - block + down - (0 if tied else embedding),
        }
        moments["at the end of the backward pass"] = {
            "gradients": self.e * self.trained,
            # a shared matrix has two gradients, and their sum
            "working set": n * g + self.around_blocks() + (2 * embedding if tied else 0),
        }
        return moments

    def formulas(self, moments: dict[str, dict[str, int]]) -> dict[str, str]:
        return {
            "gradients": f"{self.trained:,} trained weights × {self.trained_bytes} bytes",
            "activations": self.formula_of_activations(),
            "logits": f"{self.rows:,} tokens at a time × {self.vocab:,} words × 3 numbers × 4 bytes",
            "working set": self.formula_of_working_set(moments),
        }

    def formula_of_activations(self) -> str:
        around = f"{self.around_blocks():,} bytes of rotary tables and token numbers"
        if self.checkpointing:
            return (
                f"{self.n:,} tokens × {self.layers} blocks × {self.g:,} bytes + {around}; each block's input"
            )
        missing = self.missing_in_first_block()
        block = (
            f"{self.block():,} bytes in a block: norms {self.kept_by_norms():,}, attention "
            f"{self.kept_by_attention():,}, gate {self.kept_by_gate():,}, inputs of what trains "
            f"{self.kept_by_products():,}"
        )
        less = f"; {missing:,} fewer in the first" if missing else ""
        return f"{self.n:,} tokens × {self.layers * self.block() - missing:,} bytes + {around}; {block}{less}"

    def formula_of_working_set(self, moments: dict[str, dict[str, int]]) -> str:
        moment = max(moments, key=lambda name: moments[name].get("working set", 0))
        if "block" not in moment:
            return f"{moments[moment]['working set']:,} bytes {moment}"
        again = (
            f" + {self.one_block_again():,} bytes of the block computed again" if self.checkpointing else ""
        )
        return f"{self.working_set():,} bytes of gradients on their way{again}; {moment}"
