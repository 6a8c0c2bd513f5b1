"""What our own pytest adds: rules that count over a whole run of the suite."""
