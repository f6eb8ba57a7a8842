"""Arguments of the launch files; needs ROS's ``launch``."""

from collections.abc import Sequence

from launch import LaunchContext, SomeSubstitutionsType
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue


def image_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments that all nodes with images share, besides their topics."""
    return [
        DeclareLaunchArgument(
            'image_transport', default_value='', choices=['', 'auto', 'raw', 'compressed'],
            description='Subscribe to raw or to compressed images, or to what is published '
                        '(auto); default: as in params_file.'),
        DeclareLaunchArgument(
            'qos', default_value='', choices=['', 'auto', 'best_effort', 'reliable'],
            description='Reliability that the node requests of the camera, its parameter '
                        'image_reliability; default: as in params_file.'),
        DeclareLaunchArgument(
            'device', default_value='', choices=['', 'auto', 'cpu', 'cuda', 'openvino'],
            description='Device for networks; default: as in params_file.'),
        DeclareLaunchArgument(
            'respawn', default_value='false', choices=['true', 'false'],
            description='Start the node again when it ends, instead of ending the launch.'),
        DeclareLaunchArgument(
            'fastdds_profile', default_value='auto',
            description="Fast DDS profile of the node, a path; 'auto' is the package's unless the "
                        "environment names one, 'none' is Fast DDS as it comes."),
    ]


def image_parameters(context: LaunchContext) -> dict[str, ParameterValue]:
    """Return the parameters that `image_arguments` set."""
    given = given_parameters(context, image_transport=str, device=str, qos=str)
    return {'image_reliability' if name == 'qos' else name: value for name, value in given.items()}


def value_of(context: LaunchContext, argument: str) -> str:
    """Return the value of a launch argument."""
    return LaunchConfiguration(argument).perform(context)


def given_parameters(context: LaunchContext,
                     **types: type[bool | float | str]) -> dict[str, ParameterValue]:
    """Return parameters for the launch arguments that are not empty.

    An empty argument leaves the value of the parameter file in place.

    Args:
        context: of the launch.
        **types: of the parameters, by the name that argument and parameter share.
    """
    return {name: typed(name, value_type)
            for name, value_type in types.items() if value_of(context, name)}


def typed(argument: str, value_type: type[bool | float | str]) -> ParameterValue:
    """Return a launch argument as the value of a parameter: '12' may be a name."""
    return ParameterValue(LaunchConfiguration(argument), value_type=value_type)


def ros_arguments(context: LaunchContext, node: str) -> list[SomeSubstitutionsType]:
    """Return the command line of a node: the arguments ``log_level`` and ``enclaves``.

    Args:
        context: of the launch.
        node: name of the node, which its SROS2 enclave shares.
    """
    enclaves = value_of(context, 'enclaves')
    secured = ['--enclave', f'{enclaves}/{node}'] if enclaves else []
    return ['--ros-args', '--log-level', LaunchConfiguration('log_level'), *secured]


def into_namespace(context: LaunchContext, topics: Sequence[str]) -> list[tuple[str, str]]:
    """Return remappings of absolute topics into the argument ``namespace``.

    The layouts of RViz name topics outside any namespace.
    """
    namespace = value_of(context, 'namespace').strip('/')
    return [(topic, f'/{namespace}{topic}') for topic in topics] if namespace else []
