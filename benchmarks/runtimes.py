"""Cost of JIST per new frame on a robot: ``python -m benchmarks.runtimes``.

First the network, ResNet-18 with 512 dimensions at 480x640 or that of ``--model``, with random
weights: as torch runs it by default, as the device ``cpu`` runs it, and as ``openvino`` does. Then
SeqGeM of a window that moves on by one frame, against SeqGeM of the whole window.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks.timing import Timing, alternate
from seqnet_ros.config.model import ModelConfig, WeightsConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.describer import FrameDescriber, build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.image_checks import resize_antialiased
from seqnet_ros.descriptors.weights import repeatable_random
from seqnet_ros.models.place_model import load_preset
from seqnet_ros.sequences.jist_aggregators import SeqGeM
from seqnet_ros.sequences.rolling_seqgem import RollingSeqGeM

_LENGTHS = (5, 10, 50, 200, 1000)
_DIM = 512
_SHOWN = '{:<44}{:>30}{:>16}{:>12}'


def main() -> None:
    """Measure and print."""
    arguments = _parse_arguments()
    config = _resnet() if arguments.model is None else load_preset(arguments.model)[0].model
    config = config.model_copy(update={'weights': WeightsConfig(random=True)})
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    devices = ['cpu', 'openvino'] if find_spec('openvino') else ['cpu']
    describers = {f'device {device}': build_describer(config, select_device(device))
                  for device in devices}
    describe: dict[str, Callable[[], np.ndarray]] = {
        'torch, float32, as it comes': _plain(config, image),
        **{name: _describing(describer, image) for name, describer in describers.items()}}
    rounds = alternate(describe, arguments.rounds)
    print(f'{torch.get_num_threads()} threads; {arguments.rounds} rounds, medians '
          '(10th .. 90th percentile)')
    print(_SHOWN.format('one image of 480x640', 'ms', 'times faster', 'cosine'))
    slowest = next(iter(rounds))
    for name, seconds in rounds.items():
        # Ratios are taken within a round, so that a busy machine slows both alike.
        faster = float(np.median(np.array(rounds[slowest]) / seconds))
        cosine = float((describe[name]() * describe[slowest]()).sum())
        print(_SHOWN.format(name, str(Timing.of(seconds)), f'{faster:.2f}', f'{cosine:.5f}'))
    torch.set_num_threads(1)
    print(_SHOWN.format(f'SeqGeM, D = {_DIM}, one thread', 'ms', 'slowest frame', ''))
    for length in _LENGTHS:
        _show_seqgem(length)


def _resnet() -> ModelConfig:
    return parse_preset({
        'image': {'height': 480, 'width': 640},
        'frame': {'kind': 'network', 'pooling': {'kind': 'gem', 'fc_dim': _DIM}}}).model


def _plain(config: ModelConfig, image: np.ndarray) -> Callable[[], np.ndarray]:
    with repeatable_random():
        network = FrameNetwork(config.frame, config.image).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1)
                 for values in (config.image.mean, config.image.std))

    @torch.inference_mode()
    def call() -> np.ndarray:
        resized = resize_antialiased(image, config.image.height, config.image.width)
        pixels = torch.from_numpy(resized).permute(2, 0, 1).contiguous() / 255
        return network(((pixels - mean) / std)[None]).numpy()

    return call


def _describing(describer: FrameDescriber, image: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: describer.describe([image])


def _show_seqgem(length: int) -> None:
    """Time every frame of a drive: the slowest closes a block."""
    frames = normalize_rows(np.random.default_rng(0).standard_normal((3 * length + 1000, _DIM)))
    module = SeqGeM()
    rolling = RollingSeqGeM(module, length, _DIM)
    rest = iter(frames)
    window = torch.from_numpy(frames[-length:].copy())[None]
    with torch.inference_mode():
        moving = alternate({'': lambda: rolling.push(next(rest))}, len(frames) - 1)['']
        whole = alternate({'': lambda: module(window)[0].numpy()}, 200)['']
    for name, seconds in (('moved on by one frame', moving), ('whole window', whole)):
        print(_SHOWN.format(f'{length} frames, {name}', f'mean {np.mean(seconds) * 1e3:.3f}',
                            f'{max(seconds) * 1e3:.2f}', ''))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.runtimes', description=__doc__)
    parser.add_argument('--rounds', type=int, default=31)
    parser.add_argument('--model', help='a network, by name or file')
    return parser.parse_args()


if __name__ == '__main__':
    main()
