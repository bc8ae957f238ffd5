"""Measures Kitaru against the limits of the machine it runs on: `make bench`.

Absolute figures move from machine to machine, and from minute to minute on a shared disk. So every
workload measures its limit in the same run, in turns with what is compared with it, and the table
shows the ratio. Benchmarks never assert.
"""
