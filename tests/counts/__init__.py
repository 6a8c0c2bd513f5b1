"""What one step costs, counted and not timed: statements, round trips, messages and rows, compared with recorded numbers."""
