"""Bad input: whatever comes in is taken, or refused with one of our errors, in bounded time and memory, and nothing is written."""
