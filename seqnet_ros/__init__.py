"""Visual place recognition for ROS 2: SeqNet, SeqNetVLAD and JIST from a camera to a place."""

from pkgutil import extend_path

# The generated message modules (seqnet_ros.msg, seqnet_ros.srv) live in the colcon install
# space; this lets a source tree that comes first on the path find them.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'
