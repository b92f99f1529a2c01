"""The executable specification: the whole of step(), one event at a time, in the plainest Python.

It knows no arrays, no batches and no clever data structure; integers are Python's, so nothing can wrap. Where the
engine and this page differ, the engine is wrong. Read it in the order of a payment's way:

    step          the order of the acts, and the decision            L6 L8 L12
    intake        clocks, duplicates, inheritance, verdicts, legs    L1 L4 L11
    windows       what a window sees, and what it makes of it        L2 L3 L4 L5 L7
    expressions   SQL's row expressions, three-valued                L5 L7
    scores        a forest, its calibration, 0 to 999                L5 L7 L8
    reasons       what has raised a score, in words              L7 L8
    rules         the answers of rules, and the outcome              L7 L9
    alerts        which notifications go out                         L1 L6 L9

A value is an int (units of its type's scale; microseconds for times and intervals), a float, a bool, a str, NULL (None)
or ERROR: a NULL that stands for a computation that overflowed.
"""

from sekisho.testing.reference.step import Folded, State, control, fold, reference_step

__all__ = ["Folded", "State", "control", "fold", "reference_step"]
