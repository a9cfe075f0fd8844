"""The exercises in which the learner writes a function: one file each, in the order of registry.py."""
