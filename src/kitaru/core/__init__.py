"""The vocabulary: records, states, ids, the clock, mutations and ports. Standard library only."""
