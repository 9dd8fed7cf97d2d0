"""The deterministic simulator of `cluster/`: production code on virtual time, a made-up network and disks in memory.

`python -m tests.cluster.simulator --seeds 0-99` runs seeds; one that fails prints itself and replays exactly. What a
seed decides is in `plan.py`, what is done to the cluster in `faults.py`, what must hold after each step in
`witness.py`, and by which breakages the simulator itself is tested in `mutants.py`.
"""
