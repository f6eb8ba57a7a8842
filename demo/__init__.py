"""A robot maps a rendered town by day and is found in it at dusk: ``make demo``.

What would be a robot's bags is rendered (`recording`); from there on all is the real thing: the
command makes the map, the node runs in a process of its own (`node_process`), the second bag is
played to it over DDS in real time (`playback`), and what it publishes is judged against the exact
poses (`report`, `picture`). In the end `seqnet_ros evaluate bags` replays the same drive through
the same engine and writes its report.
"""
