"""The options of SeqNet's published code."""

from collections.abc import Mapping
from typing import Any

DEFAULT_FLAGS: Mapping[str, Any] = {
    'mode': 'train', 'batchSize': 16, 'cacheBatchSize': 24, 'cacheRefreshRate': 0, 'nEpochs': 200,
    'start_epoch': 0, 'nGPU': 1, 'optim': 'SGD', 'lr': 1e-4, 'lrStep': 50, 'lrGamma': 0.5,
    'weightDecay': 1e-3, 'momentum': 0.9, 'nocuda': False, 'threads': 8, 'seed': 123,
    'expName': '0', 'runsPath': './data/runs', 'savePath': 'checkpoints',
    'cachePath': './data/cache', 'resultsPath': None, 'resume': '', 'ckpt': 'latest',
    'evalEvery': 1, 'patience': 0, 'split': 'val', 'numSamples2Project': -1, 'extractOnly': False,
    'predictionsFile': None, 'seqL_filterData': None, 'dataset': 'nordland-sw',
    'msls_trainCity': 'melbourne', 'msls_valCity': 'austin', 'pooling': 'seqnet', 'seqL': 5, 'w': 3,
    'outDims': None, 'margin': 0.1, 'descType': 'netvlad-pytorch',
}
"""All options of the published code with their defaults; the published code expects all of them in
a run."""
