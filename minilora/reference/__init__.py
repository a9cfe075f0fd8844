"""The mathematics of LoRA and of 4-bit numbers in NumPy alone, one function for each idea, written to be read.

Nothing here imports torch or the rest of minilora; the tests hold the engine against it. Not here: speed, devices,
automatic gradients. The engine has those, and says the same in more words.
"""
