"""Limits that the engine works within and the memory planner counts with; plain numbers, so that both can import them.

Not here: settings of single calls.
"""

LOGITS_AT_ONCE = (
    2**25
)  # logits that the loss holds at a time; a long text with a large vocabulary goes in pieces
DECODED_AT_ONCE = 2**24  # 4-bit values that a GPU decodes at a time: bounds temporary memory, keeps it busy
TOKENS_AT_ONCE = 4096  # of a row in the MLP, if activations are offloaded to main memory (long_rows.py)
