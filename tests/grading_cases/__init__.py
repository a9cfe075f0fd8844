"""Cases for the tests of the grader, as tables that are easy to add to: a name, and what a learner hands in."""
