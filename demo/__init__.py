"""A robot maps a rendered town by day and is found in it at dusk: ``make demo``.

The bags are rendered (`recording`). Everything else is as on a robot: the command makes the map,
the node runs in a separate process (`node_process`), the second bag is played to it over DDS in
real time (`playback`), and its matches are compared with the exact poses (`report`, `picture`). In
the end `seqnet_ros evaluate bags` replays the same drive through the same engine and writes its
report.
"""
