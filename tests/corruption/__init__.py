"""Clean runs, one wrong write for each invariant, and the checker that must name exactly that invariant."""
