"""For users who test tasks, and for authors of transports."""
