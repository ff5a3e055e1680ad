"""The benchmark suite: ``python -m benchmarks`` times cyconv against every installed peer.

Each library runs in a worker process of its own (`worker.py`); the runner (`runner.py`) calls the workers in
turn, one at a time, so that drift of the machine hits all alike. A result is compared with a float64
reference (`reference.py`) before it is timed. See ``python -m benchmarks --help``.
"""
