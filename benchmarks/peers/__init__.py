"""Other queues, and loops on bare clients, doing the same work: a program for each.

They run in environments of their own, where neither chicory nor its dependencies are: nothing
here may import anything but the standard library and the peer at hand.
"""
