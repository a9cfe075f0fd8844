"""Wrong answers that a learner might well hand in, and that no exercise's file lists. test_plausible.py judges them.

They measure the checks from outside: each must be refused, and nine in ten must be told what is wrong with them. When
one that is often seen goes unnamed, it belongs into the exercise's own list, and a new one here.
"""

from tests.plausible import bookkeeping, matrices, numbers, quantizing

FUNCTIONS = matrices.FUNCTIONS | quantizing.FUNCTIONS | bookkeeping.FUNCTIONS
NUMBERS = numbers.NUMBERS
