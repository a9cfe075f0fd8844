"""What comes and goes in a training step: activations, gradients, logits, and short-lived tensors.

It is the engine's own arithmetic: which tensors autograd keeps for the backward pass of `GPT`, with or without
adapters, on a GPU whose attention kernel keeps no table of scores. Whatever lives for a moment only is estimated by
the largest few tensors. Against an H200 (benchmarks/memory_gpu.py) the whole plan is then right to a few percent.

Not here: what stays the whole time (plan.py).
"""

from __future__ import annotations

import dataclasses
import functools

from minilora.limits import LOGITS_AT_ONCE, TOKENS_AT_ONCE
from minilora.memory.catalog import ModelShape

FP32 = 4  # bytes; adapters and the loss are fp32 beside any base
INDEX = 8  # bytes of a token number


@dataclasses.dataclass(frozen=True)
class TrainingStep:
    """One training step. All sizes are in bytes; those of `kept_per_token` and what it sums are per token.

    Attributes:
        shape: The model's shape.
        method: "full", "lora" or "qlora".
        r: Rank of the adapters.
        targets: Names of the adapted layers of a block; empty for "full".
        bytes_per_number: Size of the base model's weights and activations.
        batch_size: Rows.
        sequence_length: Tokens per row.
        gradient_checkpointing: Whether blocks are recomputed in the backward pass.
        activation_offloading: Whether their inputs wait in main memory, and the MLPs run in pieces.
        adapter_bytes: Size of what an adapter keeps: like the base's, but float16 lacks the range for its gradients.
    """

    shape: ModelShape
    method: str
    r: int
    targets: tuple[str, ...]
    bytes_per_number: int
    batch_size: int
    sequence_length: int
    gradient_checkpointing: bool
    activation_offloading: bool
    adapter_bytes: int

    @property
    def full(self) -> bool:
        return self.method == "full"

    @property
    def tokens(self) -> int:
        return self.batch_size * self.sequence_length

    @property
    def hidden_bytes(self) -> int:
        """One token's hidden state between two blocks, or its gradient."""
        return self.shape.hidden_size * self.bytes_per_number

    @property
    def feed_forward_bytes(self) -> int:
        """One token's activation inside the feed-forward part."""
        return self.shape.intermediate_size * self.bytes_per_number

    @property
    def trained(self) -> int:
        """Number of weights that training changes."""
        if self.full:
            return self.shape.parameter_count
        sizes = self.shape.linear_layers
        return self.shape.num_hidden_layers * sum(self.r * sum(sizes[name]) for name in self.targets)

    @property
    def trained_bytes(self) -> int:
        """Bytes of one trained weight, and of its gradient."""
        return self.bytes_per_number if self.full else FP32

    @property
    def scores_kept(self) -> bool:
        """PyTorch's efficient attention kernels refuse fp32 with shared key/value heads; it then keeps every score."""
        shared = self.shape.num_key_value_heads != self.shape.num_attention_heads
        return self.bytes_per_number == FP32 and shared

    # -- what a block keeps for its backward pass: the inputs of operations that need them again ---------------

    def kept_by_norms(self) -> int:
        return 2 * (self.hidden_bytes + FP32)  # inputs, and one fp32 scale each

    def kept_by_attention(self) -> int:
        hidden, heads = self.shape.hidden_size, self.shape.num_attention_heads
        if self.scores_kept:
            return FP32 * (3 * hidden + heads * self.sequence_length)  # q, k and v at full width, all scores
        # q, output, k, v, and one fp32 sum per head
        return self.bytes_per_number * (2 * hidden + 2 * self.shape.key_value_size) + FP32 * heads

    def kept_by_feed_forward(self) -> int:
        return (
            1 if self.shape.gpt2_layout else 3
        ) * self.feed_forward_bytes  # GELU's input; or gate, silu(gate), up

    def kept_by_trained_layers(self) -> int:
        """Inputs of the layers that train; layers that read the same tensor keep it once, unless they need a copy."""
        hidden, sizes = self.shape.hidden_size, self.shape.linear_layers
        if self.full:  # o_proj's is attention's output, unless that kept its scores in its place
            return (
                2 * self.hidden_bytes + self.feed_forward_bytes + (FP32 * hidden if self.scores_kept else 0)
            )
        inputs = {name: sizes[name][0] for name in self.targets}
        if self.adapter_bytes == self.bytes_per_number:  # no copies
            same = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
            inputs = {same.get(name, name): size for name, size in inputs.items()}
            if not self.scores_kept:
                inputs.pop("o_proj", None)  # attention's output, which is kept anyway
        return self.adapter_bytes * (
            sum(inputs.values()) + self.r * len(self.targets)
        )  # inputs of A, and of B

    @functools.cached_property
    def kept_per_token(self) -> int:
        """By one block, for one token."""
        return (
            self.kept_by_norms()
            + self.kept_by_attention()
            + self.kept_by_feed_forward()
            + self.kept_by_trained_layers()
        )

    # -- the whole step ----------------------------------------------------------------------------------------

    def around_blocks(self) -> int:
        """Rotary tables (cosine and sine), token numbers and targets."""
        tables = 2 * self.sequence_length * self.shape.head_dim * self.bytes_per_number
        return tables + 2 * INDEX * self.tokens

    def activations(self) -> int:
        """Kept from forward to backward by all blocks."""
        if self.activation_offloading:
            return self.around_blocks()
        per_block = self.hidden_bytes if self.gradient_checkpointing else self.kept_per_token
        return self.tokens * self.shape.num_hidden_layers * per_block + self.around_blocks()

    @property
    def tokens_at_once(self) -> int:
        """Tokens whose logits the loss holds together."""
        return min(self.tokens, max(1, LOGITS_AT_ONCE // self.shape.vocab_size))

    @property
    def in_pieces(self) -> bool:
        return self.tokens_at_once < self.tokens

    def logits(self) -> int:
        """At the loss: three fp32 numbers per score (log-probability, two gradients).

        A frozen layer's loss in pieces needs two of them, for half as many tokens again.
        """
        return 3 * FP32 * self.shape.vocab_size * self.tokens_at_once

    def kept_by_last_norm(self) -> int:
        """Its input and scale; its output too, if the output layer trains or goes in pieces, and then its gradient."""
        tensors = 1 + (self.full or self.in_pieces) + (self.in_pieces and not self.full)
        return self.tokens * (self.hidden_bytes * tensors + FP32)

    def kept_by_forward(self) -> int:
        """Everything that the forward pass leaves for the backward pass."""
        log_probabilities = 0 if self.in_pieces else FP32 * self.shape.vocab_size * self.tokens
        # of a frozen layer's loss in pieces only the gradient waits, not the last norm's output
        output = self.tokens * self.hidden_bytes if self.in_pieces and not self.full else 0
        return self.activations() + self.kept_by_last_norm() - output + log_probabilities

    def recomputed_block(self) -> int:
        """With checkpointing: what the block in its backward pass keeps besides its input."""
        if not self.gradient_checkpointing or self.activation_offloading:
            return 0  # offloaded blocks come back in halves: see working_set
        return self.tokens * (self.kept_per_token - self.hidden_bytes)

    def working_set(self) -> int:
        """Largest short-lived tensors while one block is in its backward pass."""
        if self.activation_offloading:
            return max(self.attention_alone(), self.piece_of_feed_forward())
        tokens, wide = self.tokens, self.feed_forward_bytes
        candidates = [tokens * (self.hidden_bytes + self.feed_forward_gradients())]
        if (
            self.targets and self.adapter_bytes != self.bytes_per_number
        ):  # an adapter's output, before and after scaling
            wide_copies = 2 * self.adapter_bytes * self.shape.intermediate_size
            candidates.append(tokens * (wide_copies + 2 * self.hidden_bytes))
        if self.scores_kept:  # two gradients of all scores
            candidates.append(tokens * 2 * FP32 * self.shape.num_attention_heads * self.sequence_length)
        if self.method == "qlora":  # a decoded weight, and the gradients that wait
            decoded = self.shape.hidden_size * wide
            candidates.append(decoded + tokens * (self.hidden_bytes + wide))
        return max(candidates)

    def feed_forward_gradients(self) -> int:
        """Of the MLP's product and its two factors, for one token.

        If down_proj has kept that product, its own input, it lets go of it before the factors' gradients are made.
        """
        kept = self.full or ("down_proj" in self.targets and self.adapter_bytes == self.bytes_per_number)
        return (2 if kept else 3) * self.feed_forward_bytes

    def attention_alone(self) -> int:
        """With offloading: all that one block's attention needs in its backward pass."""
        hidden, keys = self.hidden_bytes, self.shape.key_value_size * self.bytes_per_number
        # the gradient of its output, what its norm keeps, its own tensors, and the input of q, k and v
        kept = hidden + self.kept_by_norms() // 2 + self.kept_by_attention() + hidden
        gradients = (
            2 * hidden + 2 * keys + FP32 * self.shape.hidden_size
        )  # output, q, k, v; sums for q in fp32
        if self.shape.num_key_value_heads != self.shape.num_attention_heads:
            gradients += 2 * hidden  # of k and v, for each query head
        if self.scores_kept:
            gradients += 2 * FP32 * self.shape.num_attention_heads * self.sequence_length
        return self.tokens * (kept + gradients)

    def piece_of_feed_forward(self) -> int:
        """With offloading: the MLP's backward pass for some tokens, while the gradients of all others wait."""
        at_once = self.batch_size * min(self.sequence_length, TOKENS_AT_ONCE)
        kept = self.kept_by_norms() // 2 + self.kept_by_feed_forward() + self.kept_by_trained_layers()
        piece = at_once * (kept + self.hidden_bytes + self.feed_forward_gradients())
        return 2 * self.tokens * self.hidden_bytes + piece

    def moments(self) -> dict[str, dict[str, int]]:
        """Returns what comes and goes, by part, at each moment that can be the peak."""
        head_gradient = self.shape.vocab_size * self.hidden_bytes if self.full else 0  # of the output layer
        gradients = self.trained * self.trained_bytes
        moments = {
            "at the loss": {
                "activations": self.activations(),
                "gradients": head_gradient,
                "logits": self.logits(),
                "working set": self.kept_by_last_norm(),
            },
            "in the last block's backward pass": {
                "activations": self.activations(),
                "gradients": head_gradient,
                "working set": self.working_set() + self.recomputed_block(),
            },
        }
        if (
            self.activation_offloading
        ):  # all blocks need as much, and the first one has all gradients beside it
            moments["in the first block's backward pass"] = {
                "activations": self.activations(),
                "gradients": gradients,
                "working set": self.working_set(),
            }
        if self.full:
            # a matrix that embedding and output layer share has two gradients, and their sum
            shared = 2 * head_gradient if self.shape.tie_word_embeddings else 0
            waiting = self.tokens * self.hidden_bytes + self.around_blocks()
            moments["at the end of the backward pass"] = {
                "gradients": gradients,
                "working set": shared + waiting,
            }
        else:
            moments["at the update"] = {"gradients": gradients, "working set": 0}
        return moments

    # -- the same in words, with the numbers put in -------------------------------------------------------------

    def formulas(self, moments: dict[str, dict[str, int]]) -> dict[str, str]:
        """Returns each part's largest size as a sum of products; what follows a semicolon explains."""
        return {
            "gradients": f"{self.trained:,} trained weights × {self.trained_bytes} bytes",
            "activations": self._formula_of_activations(),
            "logits": (
                f"{self.tokens_at_once:,} tokens at a time × {self.shape.vocab_size:,} words × 3 numbers × 4 bytes"
            ),
            "working set": self._formula_of_working_set(moments),
        }

    def _formula_of_activations(self) -> str:
        blocks = f"{self.tokens:,} tokens × {self.shape.num_hidden_layers} blocks"
        around = f"{self.around_blocks():,} bytes of rotary tables and token numbers"
        if self.activation_offloading:
            return f"{around}; the blocks' inputs wait in main memory"
        if self.gradient_checkpointing:
            return f"{blocks} × {self.hidden_bytes:,} bytes + {around}; each block's input"
        return (
            f"{blocks} × {self.kept_per_token:,} bytes + {around}; "
            f"of a block: norms {self.kept_by_norms():,}, attention {self.kept_by_attention():,}, "
            f"feed-forward {self.kept_by_feed_forward():,}, inputs of what trains {self.kept_by_trained_layers():,}"
        )

    def _formula_of_working_set(self, moments: dict[str, dict[str, int]]) -> str:
        moment = max(moments, key=lambda name: moments[name]["working set"])
        if "block" not in moment:
            return f"{moments[moment]['working set']:,} bytes {moment}"
        again = (
            f" + {self.recomputed_block():,} bytes of the recomputed block" if self.recomputed_block() else ""
        )
        return f"{self.working_set():,} bytes of short-lived tensors{again}; {moment}"
