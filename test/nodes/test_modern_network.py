"""A network of today, small and with random weights, in the node as in the engine."""

import pytest
import yaml
from node_harness import (
    TOWN_EVERY,
    assert_same,
    deliver,
    eventually,
    localizing,
    offline,
    with_keyframes,
)
from sequence_search import PARAMETERS as SEQUENCES

from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import load_model

pytestmark = pytest.mark.requires_ros


def test_megaloc_gives_in_the_node_what_the_engine_gives(first_drive, second_drive, tmp_path):
    """The map alone tells the node which network it needs."""
    path = tmp_path / 'mega.yaml'
    path.write_text(yaml.safe_dump({
        'image': {'height': 70, 'width': 84}, 'weights': {'random': True},
        'sequence': {'length': 3}, 'frame': {
            'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 1,
            'final_norm': True, 'pooling': {
                'kind': 'salad', 'clusters': 12, 'cluster_dim': 8, 'token_dim': 16,
                'fc_dim': 48}}}))
    model = load_model(path, device='cpu')
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for stamp_ns, image, pose in first_drive:
        mapper.push(image, stamp_ns, pose)
    save_map(mapper.finish(), tmp_path / 'map')
    drive = second_drive[:20]
    expected = offline(model, tmp_path / 'map', drive, method='sequence', every='1', min_change=0.0)
    with localizing(map=str(tmp_path / 'map'), **TOWN_EVERY, **SEQUENCES) as (node, peer):
        for stamp_ns, image, _ in drive:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every image')
        assert_same(peer.matches, expected)
        assert node.model.config.frame.pooling.kind == 'salad'
