"""Start a node without ROS's command line tools: ``python -m seqnet_ros.nodes localizer``."""

import os
import signal
import sys
from importlib import import_module

NODES = {
    'bag_player': 'seqnet_ros.nodes.bag_player',
    'evaluator': 'seqnet_ros.nodes.evaluator_node',
    'localizer': 'seqnet_ros.nodes.localizer_node',
    'loop_closer': 'seqnet_ros.nodes.loop_closer_node',
    'map_server_bridge': 'seqnet_ros.nodes.bridges.map_server_node',
    'mapper': 'seqnet_ros.nodes.mapper_node',
    'pose_graph_bridge': 'seqnet_ros.nodes.bridges.pose_graph_node',
    'rtabmap_bridge': 'seqnet_ros.nodes.bridges.rtabmap_node',
}
"""Executables that CMake installs, and the module whose ``main`` each runs."""


def start(name: str) -> None:
    """Run the node of an executable until it is interrupted, and end the process."""
    # Until the node handles signals itself, there is nothing to finish.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        import_module('seqnet_ros.pydantic_version')
    except ImportError as error:
        sys.exit(f'Error: {error}')
    import_module(NODES[name]).main()
    # The node is destroyed and its map saved: freeing what was imported would take seconds more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == '__main__':
    if sys.argv[1:2] == [] or sys.argv[1] not in NODES:
        sys.exit(f'found {" ".join(sys.argv[1:]) or "no name"}, expected the name of a node: '
                 f'{", ".join(NODES)}')
    start(sys.argv.pop(1))
