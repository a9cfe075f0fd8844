"""The exercises in which one writes a function: one file each, in the order of registry.py."""
