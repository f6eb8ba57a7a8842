"""Quality of service: offers of publishers and requests of subscriptions, compared."""

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible


def describe_qos(profile: QoSProfile) -> str:
    """Return the relevant part of a profile, human-readable."""
    return ', '.join(policy.name.lower().replace('_', ' ')
                     for policy in (profile.reliability, profile.durability))


def describe_count(publishers: int) -> str:
    """Return a number of publishers in words."""
    return f'{publishers} publisher' + ('' if publishers == 1 else 's')


def publisher_names(node: Node, topic: str) -> list[str]:
    """Return the full names of the nodes that publish on a topic, one for each publisher."""
    return sorted(f'{item.node_namespace.rstrip("/")}/{item.node_name}'
                  for item in node.get_publishers_info_by_topic(topic))


def mismatches(node: Node, topic: str, asked: QoSProfile) -> list[str]:
    """Return a phrase for each publisher on a topic that cannot serve a subscription.

    Each names the offered and the requested settings.
    """
    refused = [item for item in node.get_publishers_info_by_topic(topic)
               if qos_check_compatible(item.qos_profile, asked)[0] == QoSCompatibility.ERROR]
    return [f'{item.node_namespace.rstrip("/")}/{item.node_name} offers '
            f'{describe_qos(item.qos_profile)}, but {node.get_fully_qualified_name()} requests '
            f'{describe_qos(asked)}' for item in refused]
