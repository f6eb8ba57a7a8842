"""Arguments of the launch files; needs ROS's ``launch``."""

from collections.abc import Sequence

from launch import LaunchContext, SomeSubstitutionsType
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue


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
    return {name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
            for name, value_type in types.items() if value_of(context, name)}


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
