"""Prove that a transport loses nothing and doubles nothing while everything round it breaks.

    python -m chicory.testing.faults --transport redis --seed 8 --tasks 2000 --faults 20

A run has producers, worker processes, a broker of its own and a schedule of faults that a seed
decides. Processes write what happens into a ledger outside of the system; afterwards a verdict
says whether what was promised was held. Authors of transports: see ``stage.Stage``.
"""
