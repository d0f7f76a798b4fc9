"""``python -m chicory.processes FD FD``: started by workers only."""

from chicory.processes.program import main

if __name__ == "__main__":
    main()
