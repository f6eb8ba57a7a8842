"""Nodes as the launch files start them: resolved beforehand, and ended together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import EmitEvent, LogInfo, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from seqnet_ros.nodes.fast_dds import driver_line, profile_environment
from seqnet_ros.nodes.launch_arguments import into_namespace, ros_arguments, value_of

CONFIG = PathJoinSubstitution([FindPackageShare('seqnet_ros'), 'config'])
PACKAGE = 'seqnet_ros'
_RESPAWN_DELAY_S = 2.0
_SAVING_S = '60'
"""How long a node that saves its map may take before launch terminates it."""


class LaunchError(RuntimeError):
    """Something cannot be started, or ended with an error; the launch ends with status 1."""


def package_node(context: LaunchContext, name: str, *, parameters: Sequence[Any],
                 remappings: Sequence[Any] = (), takes_images: bool = False,
                 saves_map: bool = False, respawning: bool = True) -> Node:
    """Return a node of this package, in the namespace and with the log level that are set.

    Args:
        context: of the launch.
        name: of the node and its executable.
        parameters: as for `Node`.
        remappings: as for `Node`.
        takes_images: use the Fast DDS profile that ``fastdds_profile`` names.
        saves_map: give it time to save its map when the launch ends.
        respawning: whether ``respawn`` applies to it.

    Raises:
        LaunchError: the executable is not installed.
    """
    require_executable(PACKAGE, name)
    options: dict[str, Any] = {}
    if saves_map:
        options = {'sigterm_timeout': _SAVING_S, 'sigkill_timeout': _SAVING_S}
    if takes_images:
        options['additional_env'] = profile_environment(value_of(context, 'fastdds_profile'))
    return Node(
        package=PACKAGE, executable=name, name=name, namespace=LaunchConfiguration('namespace'),
        output='screen', parameters=list(parameters), remappings=list(remappings),
        arguments=ros_arguments(context, name), respawn=respawning and respawns(context),
        respawn_delay=_RESPAWN_DELAY_S, **options)


def rviz_nodes(context: LaunchContext, layout: str, topics: Sequence[str]) -> list[Node]:
    """Return RViz with a layout of this package where ``rviz`` asks for it.

    Args:
        context: of the launch.
        layout: name of the file.
        topics: that the layout shows, absolute.

    Raises:
        LaunchError: RViz is not installed.
    """
    if value_of(context, 'rviz') != 'true':
        return []
    require_executable('rviz2', 'rviz2')
    return [Node(
        package='rviz2', executable='rviz2', name='rviz2',
        namespace=LaunchConfiguration('namespace'), output='screen',
        parameters=[{'use_sim_time': LaunchConfiguration('use_sim_time')}],
        remappings=into_namespace(context, topics),
        arguments=['-d', PathJoinSubstitution([CONFIG, layout])])]


def require_executable(package: str, executable: str) -> None:
    """Check before anything is started that a node can be.

    Raises:
        LaunchError: the package or the executable is not installed.
    """
    try:
        prefix = Path(get_package_prefix(package))
    except PackageNotFoundError as error:
        raise LaunchError(f'nothing was started: the package {package} is not installed or not '
                          'sourced') from error
    if not (prefix / 'lib' / package / executable).is_file():
        raise LaunchError(f'nothing was started: there is no executable {executable} in '
                          f'{prefix}/lib/{package}, expected the package {package} to install it')


def respawns(context: LaunchContext) -> bool:
    """Return whether the nodes of this package are started again when they end."""
    return value_of(context, 'respawn') == 'true'


def ending_together(context: LaunchContext, nodes: Sequence[Node], *,
                    respawning: bool = True) -> list[LaunchDescriptionEntity]:
    """Return nodes, and what ends the launch with the first of them that ends.

    A node that ended with an error makes that the error of the launch. A node that is respawned
    ends nothing.

    Args:
        context: of the launch.
        nodes: what to start.
        respawning: whether ``respawn`` applies to the nodes of this package.
    """
    respawned = respawning and respawns(context)

    def end(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        name = event.process_name
        if event.returncode:
            raise LaunchError(f'{name} ended with status {event.returncode}')
        return [EmitEvent(event=Shutdown(reason=f'{name} has ended'))]

    handlers = [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=end))
                for node in nodes
                if not (respawned and node.node_package == PACKAGE)]
    return [*handlers, *nodes]


def camera_advice(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the line about the camera driver, which sends large images as its profile says."""
    if value_of(context, 'fastdds_profile') == 'none' or value_of(
            context, 'image_transport') == 'compressed':
        return []
    return [LogInfo(msg='for raw images with Fast DDS, start the camera driver in a shell with: '
                        + driver_line())]
