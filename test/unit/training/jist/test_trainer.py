"""Training JIST and CosPlace: both learn, are repeatable, can be resumed and bear bad images."""

import dataclasses
import json
import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command_line import refusal, succeed
from hypothesis import given
from hypothesis import strategies as st
from jist_training import IMAGES, SEQUENCES, SMALL, options
from jist_trees import make_tree, read_tree, sequences_of
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchvision.models import mobilenet_v2

from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.descriptors.weights import read_tensors, read_torch
from seqnet_ros.evaluation.jist.protocol import describe_all, evaluate
from seqnet_ros.models.place_model import load_model
from seqnet_ros.sequences.jist_aggregators import SeqGeM
from seqnet_ros.training.common.settings import parse_settings
from seqnet_ros.training.cosplace import trainer
from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig, ImageTrainingConfig
from seqnet_ros.training.cosplace.data import ImageClasses, ImageSearch, ImageStream
from seqnet_ros.training.cosplace.model import (
    TrainedModel,
    fix_layers,
    set_training_mode,
    start_model,
)
from seqnet_ros.training.cosplace.steps import Best
from seqnet_ros.training.cosplace.trainer import CosPlaceTraining, train_cosplace
from seqnet_ros.training.jist.config import JistTrainingConfig
from seqnet_ros.training.jist.data import SequencePair
from seqnet_ros.training.jist.mining import (
    Draw,
    TripletSource,
    WindowDescriptors,
    choose_triplets,
    frames_of,
    pool_windows,
)
from seqnet_ros.training.jist.trainer import JistTraining, train_jist

ROOT = Path(__file__).resolve().parents[4]


def jist_job(streets: Path, images: bool = True, **settings: object) -> JistTraining:
    config = parse_settings(JistTrainingConfig, {**SEQUENCES, **settings}, 'settings')
    model = start_model(streets / 'small.yaml', config.fc_dim, config.seed,
                        {'length': config.length, 'aggregator': config.aggregator})
    return JistTraining(
        model, SequencePair.of(streets / 'msls', 'train', config.length),
        SequencePair.of(streets / 'msls', 'val', config.length), config,
        ImageClasses.of(streets / 'sf_xl' / 'train', config) if images else None,
        ImageSearch.of(streets / 'sf_xl' / 'val', config.radius) if images else None)


def copy_of(streets: Path, target: Path) -> Path:
    """Copy the data by links; a file can then be replaced."""
    for file in streets.rglob('*.*'):
        if file.is_file():
            place = target / file.relative_to(streets)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(file)
    return target


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


class TestLearning:
    @pytest.mark.slow
    def test_an_unseen_street_is_recognised_better_after_jist(self, streets, tmp_path, caplog):
        caplog.set_level(logging.INFO, 'seqnet_ros')
        best = train_jist(jist_job(streets, epochs=3, sub_epochs=3, queries=40), tmp_path)
        events = EventAccumulator(str(tmp_path)).Reload()
        recalls = [event.value for event in events.Scalars('Val/Sequence Recall@1')]
        assert len(recalls) == 4
        assert recalls[0] < 0.2
        assert best.recalls[1] > 2 * recalls[0]
        assert best.recalls[5] == pytest.approx(
            max(event.value for event in events.Scalars('Val/Sequence Recall@5')[1:]))
        for name in ('Train/Sequence loss', 'Train/Image loss', 'Train/GeM exponent',
                     'Train/SeqGeM exponent', 'Val/Image Recall@1'):
            assert events.Scalars(name)
        assert len([text for text in caplog.messages if text.startswith('epoch ')]) == 3

    @pytest.mark.slow
    def test_images_are_recognised_better_after_cosplace(self, streets, tmp_path, monkeypatch):
        monkeypatch.setattr(trainer, 'ITERATIONS_KEPT', 15)
        config = CosPlaceTrainingConfig(**{**IMAGES, 'epochs': 3, 'iterations': 40, 'radius': 2})
        job = CosPlaceTraining(
            start_model(streets / 'small.yaml', None, 0),
            ImageClasses.of(streets / 'sf_xl' / 'train', config),
            ImageSearch.of(streets / 'sf_xl' / 'val', 2), config)
        best = train_cosplace(job, tmp_path)
        events = EventAccumulator(str(tmp_path)).Reload()
        start = events.Scalars('Val/Image Recall@1')[0].value
        assert best.recalls[1] > start + 0.2
        state = read_torch(tmp_path / 'last_checkpoint.pth')
        assert state['global_step'] == 120
        assert state['best_val_recall1'] == pytest.approx(100 * best.recalls[1])
        assert len(state['classifiers_state_dict']) == 2
        assert load_model(tmp_path / 'model.yaml', 'cpu').describer.dim == 32

    @pytest.mark.slow
    def test_sequences_alone_teach_too(self, streets, tmp_path):
        best = train_jist(jist_job(streets, images=False, sub_epochs=3, queries=40), tmp_path)
        start = EventAccumulator(str(tmp_path)).Reload().Scalars('Val/Sequence Recall@1')[0].value
        assert best.recalls[1] > start + 0.1
        assert read_torch(tmp_path / 'last_checkpoint.pth')['classifiers_state_dict'] == []

    @pytest.mark.slow
    def test_bfloat16_trains_weights_of_32_bits(self, streets, tmp_path):
        states = []
        for precision in ('bf16', '32'):
            job = jist_job(streets, epochs=1, sub_epochs=1, lr=1e-4)
            place = dataclasses.replace(job.place, precision=precision)
            train_jist(dataclasses.replace(job, place=place), tmp_path / precision)
            states.append(load_file(tmp_path / precision / 'model.safetensors'))
        half, whole = states
        assert {tensor.dtype for tensor in half.values()} == {torch.float32, torch.int64}
        start = jist_job(streets).model.network.state_dict()
        moved = [(whole[name] - tensor).flatten() for name, tensor in start.items()
                 if name.endswith('conv.0.0.weight')]
        alike = [(half[name] - tensor).flatten() for name, tensor in start.items()
                 if name.endswith('conv.0.0.weight')]
        assert torch.cosine_similarity(torch.cat(moved), torch.cat(alike), dim=0) > 0.7

    @pytest.mark.parametrize(
        'aggregator', ['concat', 'mean', 'max', 'simplefc', 'meanfc', 'conv1d'])
    def test_other_aggregators_train(self, streets, tmp_path, aggregator):
        train_jist(jist_job(streets, images=False, epochs=1, sub_epochs=1, aggregator=aggregator),
                   tmp_path)
        model = load_model(tmp_path / 'model.yaml', 'cpu')
        assert model.config.sequence.aggregator == aggregator
        names = set(read_tensors(tmp_path / 'best_model.pth'))
        assert {name for name in names if not name.startswith('model.')} == {
            'simplefc': {'final_fc.weight'}, 'meanfc': {'final_fc.weight'},
            'conv1d': {'conv1d.weight', 'conv1d.bias'}}.get(aggregator, set())


class TestMining:
    @pytest.mark.parametrize('number', [0, 1])
    def test_triplets_are_the_published_ones(self, shared_golden, tmp_path, number):
        case = json.loads((shared_golden / 'jist/evaluation/mining.json').read_text())[number]
        tree = read_tree(shared_golden, case['tree'])
        truth = next(other for other in tree['cases'] if not other['reverse'] and all(
            other[name] == case[name] for name in ('seq_length', 'city')))
        database, queries = sequences_of(make_tree(tmp_path / 'train', tree['files']), truth, True)
        config = JistTrainingConfig(negatives=case['nNeg'])
        draw = Draw.of(SequencePair(database, queries),
                       np.array(truth['qIdx'])[case['sampled_queries']],
                       np.array(case['sampled_database']), config)
        stored = np.load(shared_golden / f'jist/evaluation/{case["tree"]}_frames.npz')
        described = []
        for side, sequences, rows in (('queries', queries, draw.queries),
                                      ('database', database, draw.places)):
            place = {path: row for row, path in enumerate(tree['files'][side])}
            order = [place[path] for path in sequences.frames.paths]
            frames = torch.from_numpy(stored[side][order])[frames_of(sequences, rows)]
            described.append(pool_windows(sequences, rows, frames,
                                          torch.zeros(len(frames), dtype=torch.bool), SeqGeM()))
        triplets = choose_triplets(draw, *described, case['nNeg'])
        found = torch.cat([triplets.queries[:, None], triplets.positives[:, None],
                           triplets.negatives], dim=1)
        assert found.tolist() == case['triplets']

    @given(seed=st.integers(0, 10_000), negatives=st.integers(1, 4))
    def test_triplets_are_those_of_a_plain_search(self, seed, negatives):
        random = np.random.default_rng(seed)
        places = np.sort(random.choice(60, 15, replace=False))
        near = [np.sort(random.choice(60, random.integers(0, 12), replace=False))
                for _ in range(6)]
        positives = [row[random.random(len(row)) < 0.5] for row in near]
        places = np.unique(np.concatenate([places, *positives]))
        drawn = random.random(len(places)) < 0.8
        draw = Draw(np.arange(100, 106), places, drawn, compressed(positives), compressed(near))
        q_values, p_values = random.normal(size=(6, 3)), random.normal(size=(len(places), 3))
        q_lost, p_lost = random.random(6) < 0.1, random.random(len(places)) < 0.2
        found = choose_triplets(
            draw, *(WindowDescriptors(torch.from_numpy(values).float(), torch.from_numpy(lost))
                    for values, lost in ((q_values, q_lost), (p_values, p_lost))), negatives)
        expected = []
        for row in range(6):
            order = sorted(range(len(places)),
                           key=lambda column: np.linalg.norm(q_values[row] - p_values[column]))
            order = [column for column in order if not p_lost[column]]
            best = [places[column] for column in order if places[column] in positives[row]]
            hard = [places[column] for column in order
                    if drawn[column] and places[column] not in near[row]]
            if best and len(hard) >= negatives and not q_lost[row]:
                expected.append([100 + row, best[0], *hard[:negatives]])
        assert torch.cat([found.queries[:, None], found.positives[:, None], found.negatives],
                         dim=1).tolist() == expected

    def test_rounds_draw_anew_and_again_the_same(self, streets):
        job = jist_job(streets, images=False)
        source = TripletSource(job.sequences, job.config)
        first, again, other = source.draw(0), source.draw(0), source.draw(1)
        assert np.array_equal(first.queries, again.queries)
        assert np.array_equal(first.places, again.places)
        assert len(first.queries) == len(set(first.queries)) == 16
        assert not np.array_equal(first.queries, other.queries)
        assert first.drawn.sum() == 60
        assert set(first.positives.indices) <= set(first.places)

    def test_every_frame_is_described_once_a_round(self, streets, tmp_path, monkeypatch):
        described: list[Counter[str]] = []

        def describe(job: JistTraining) -> None:
            from seqnet_ros.training.common import image_reading

            plain = image_reading.read_batch

            def read(paths, size):
                described[-1].update(map(str, paths))
                return plain(paths, size)

            monkeypatch.setattr(image_reading, 'read_batch', read)
            described.append(Counter())
            train_jist(job, tmp_path)

        describe(jist_job(streets, images=False, epochs=1, sub_epochs=1))
        counts = {path: count for path, count in described[0].items() if '/train/' in path}
        assert len(counts) > 100
        assert set(counts.values()) == {1}


def compressed(rows: list[np.ndarray]):
    from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth

    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return GroundTruth(indptr, np.concatenate(rows), 60)


class TestStart:
    def test_a_published_model_starts_as_it_is_and_comes_out_under_its_names(
            self, shared_golden, tmp_path):
        network = shared_golden / 'jist' / 'network'
        file = network / 'jist_resnet18_512_seqgem_fp16.safetensors'
        (tmp_path / 'start.yaml').write_text(f"""
image: {{height: 480, width: 640}}
frame: {{kind: network, backbone: resnet18, pooling: {{kind: gem, fc_dim: 512}}}}
weights: {{path: {file}, layout: jist}}
""")
        model = start_model(tmp_path / 'start.yaml', None, 0, {'length': 5, 'aggregator': 'seqgem'})
        state = model.published_state()
        names = json.loads((network / 'state_dict_keys.json').read_text())
        assert [[name, list(tensor.shape), str(tensor.dtype).removeprefix('torch.')]
                for name, tensor in state.items()] == names
        for name, tensor in load_file(file).items():
            torch.testing.assert_close(state[name], tensor.to(state[name].dtype), atol=0, rtol=0)
        fix_layers(model, None, {'resnet': 3})
        expected = json.loads((network / 'trainable_parameters.json').read_text())
        assert trained_names(model) == expected['trainable']
        model.save(tmp_path / 'run', 'A model.')
        saved = read_tensors(tmp_path / 'run' / 'best_model.pth')
        assert list(saved) == [name for name, *_ in names]
        loaded = load_model(tmp_path / 'run' / 'model.yaml', 'cpu')
        assert loaded.aggregator.p.item() == state['seq_gem.p'].item() == 3.5

    def test_the_trunk_of_a_classifier_is_taken(self, tmp_path):
        trained = mobilenet_v2(weights=None).state_dict()
        save_file(trained, tmp_path / 'mobilenet.safetensors')
        (tmp_path / 'start.yaml').write_text(
            SMALL.replace('{random: true}', '{path: mobilenet.safetensors, layout: torchvision}'))
        first, again, other = (start_model(tmp_path / 'start.yaml', 16, seed) for seed in (0, 0, 1))
        name = 'backbone.1.conv.0.0.weight'
        assert torch.equal(first.network.state_dict()[name],
                           trained[name.replace('backbone', 'features')])
        linear = [model.network.aggregation[3].weight for model in (first, again, other)]
        assert linear[0].shape == (16, 24)
        assert torch.equal(linear[0], linear[1])
        assert not torch.equal(linear[0], linear[2])

    def test_a_linear_layer_of_another_size_is_drawn(self, streets, tmp_path):
        start_model(streets / 'small.yaml', None, 0).save(tmp_path / 'run', 'A model.')
        model = start_model(tmp_path / 'run' / 'model.yaml', 8, 0)
        before = start_model(tmp_path / 'run' / 'model.yaml', None, 0)
        assert model.network.dim == 8
        for name, tensor in before.network.state_dict().items():
            if not name.startswith('aggregation.3'):
                assert torch.equal(model.network.state_dict()[name], tensor)

    def test_what_cannot_be_trained_is_refused(self, streets, tmp_path):
        with pytest.raises(ModelError, match='describes frames by hog, expected a network'):
            start_model('hog', None, 0)
        (tmp_path / 'none.yaml').write_text(SMALL.replace('random: true', 'random: false'))
        with pytest.raises(ModelError, match='needs weights to start from'):
            start_model(tmp_path / 'none.yaml', None, 0)
        start_model(streets / 'small.yaml', None, 0).save(tmp_path / 'run', 'A model.')
        (tmp_path / 'run' / 'other.yaml').write_text(SMALL.replace(
            'layer: 4', 'layer: 5').replace('random: true', 'path: model.safetensors'))
        with pytest.raises(ModelError, match=r'do not fit the network: .*is missing'):
            start_model(tmp_path / 'run' / 'other.yaml', None, 0)
        with pytest.raises(ModelError, match='has 4 layers, but frozen_layers is 5'):
            fix_layers(start_model(streets / 'small.yaml', None, 0), 5, {})

    @pytest.mark.parametrize(('layers', 'first'), [(0, 'backbone.0.'), (2, 'backbone.2.'),
                                                   (4, 'aggregation.1.p')])
    def test_layers_are_fixed_from_the_first_on(self, streets, layers, first):
        model = start_model(streets / 'small.yaml', None, 0)
        fix_layers(model, layers, {})
        assert trained_names(model)[0].startswith(first)

    @pytest.mark.parametrize('update', ['all', 'trained', 'none'])
    def test_batch_norms_follow_as_they_are_told(self, streets, update):
        model = start_model(streets / 'small.yaml', None, 0)
        fix_layers(model, 2, {})
        before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        set_training_mode(model, update)
        model.network(torch.randn(4, 3, 32, 40))
        moved = {int(name.split('.')[1]) for name, tensor in model.network.state_dict().items()
                 if name.endswith('running_mean') and not torch.equal(tensor, before[name])}
        assert moved == {'all': {0, 1, 2, 3}, 'trained': {2, 3}, 'none': set()}[update]


def trained_names(model: TrainedModel) -> list[str]:
    modules = [(model.network, 'model.' if model.aggregator else '')]
    names = [prefix + name for module, prefix in modules
             for name, weight in module.named_parameters() if weight.requires_grad]
    return [*names, 'seq_gem.p'] if model.aggregator else names


class TestImages:
    def test_every_class_comes_once_in_each_turn(self, streets):
        config = ImageTrainingConfig(**{**IMAGES, 'epochs': 1})
        classes = ImageClasses.of(streets / 'sf_xl' / 'train', config)
        count = len(classes.classes_of(1))
        stream = ImageStream(classes, 1, 3, config)
        labels = torch.cat([stream.read(step).labels for step in range(count)])
        for turn in labels.split(count):
            assert sorted(turn.tolist()) == list(range(count))
        assert not torch.equal(labels[:count], labels[count: 2 * count])

    def test_processes_share_a_step(self, streets):
        config = ImageTrainingConfig(**{**IMAGES, 'epochs': 1})
        classes = ImageClasses.of(streets / 'sf_xl' / 'train', config)
        whole = ImageStream(classes, 0, 0, config).read(5)
        shares = [ImageStream(classes, 0, 0, config).read(5, rank, 2) for rank in range(2)]
        assert sorted(torch.cat([share.rows for share in shares]).tolist()) == list(range(12))
        for share in shares:
            assert torch.equal(share.pixels, whole.pixels[share.rows])
            assert torch.equal(share.labels, whole.labels[share.rows])

    def test_another_image_of_the_class_takes_the_place_of_a_broken_one(self, streets, tmp_path):
        data = copy_of(streets, tmp_path)
        config = ImageTrainingConfig(**{**IMAGES, 'epochs': 1})
        classes = ImageClasses.of(data / 'sf_xl' / 'train', config)
        first, second = classes.classes_of(0)[:2].tolist()
        for row in classes.partition.images_of(first)[1:].tolist():
            replace(classes.images.path(row), b'\xff\xd8 no image')
        grey = cv2.imencode('.jpg', np.full((50, 70), 99, np.uint8))[1].tobytes()
        replace(classes.images.path(int(classes.partition.images_of(first)[0])), grey)
        for row in classes.partition.images_of(second).tolist():
            replace(classes.images.path(row), b'')
        stream = ImageStream(classes, 0, 0, config)
        batches = [stream.read(step) for step in range(3)]
        labels = torch.cat([batch.labels for batch in batches])
        pixels = torch.cat([batch.pixels for batch in batches])
        assert 1 not in labels
        assert torch.equal(pixels[labels == 0],
                           torch.full_like(pixels[labels == 0], 99))
        assert (labels == 0).any()
        complaints = {text for batch in batches for text in batch.complaints}
        assert any('is empty' in text for text in complaints)
        assert len(complaints) > 2

    def test_classes_that_are_too_small_are_refused(self, streets):
        folder = streets / 'sf_xl' / 'train'
        with pytest.raises(InputError, match='no class has 31 images'):
            ImageClasses.of(folder, ImageTrainingConfig(**{
                **IMAGES, 'epochs': 1, 'min_images': 31}))
        with pytest.raises(InputError, match='has 1 class, expected at least 2'):
            ImageClasses.of(folder, ImageTrainingConfig(**{
                **IMAGES, 'epochs': 1, 'cells_apart': 15, 'groups': 20}))


def damage(data: Path, per_side: int) -> int:
    """Break images of all kinds; return how many."""
    broken = 0
    for folder in ('msls/train/database', 'msls/train/queries', 'msls/val/database',
                   'msls/val/queries', 'sf_xl/train', 'sf_xl/val/database', 'sf_xl/val/queries'):
        files = sorted((data / folder).rglob('*.jpg'))
        for number, file in enumerate(files[5::9][:per_side]):
            content = file.read_bytes()
            replace(file, (b'', b'no image', content[: len(content) // 2])[number % 3])
            broken += 1
        # A grey one and one with alpha are as good as the others.
        colours = cv2.imread(str(files[3]))
        for file, code, kind in ((files[3], cv2.COLOR_BGR2GRAY, '.jpg'),
                                 (files[4], cv2.COLOR_BGR2BGRA, '.png')):
            replace(file, cv2.imencode(kind, cv2.cvtColor(colours, code))[1].tobytes())
    return broken


class TestBadImages:
    @pytest.mark.parametrize('side', ['queries', 'database'])
    def test_sequences_that_are_all_broken_are_named(self, streets, tmp_path, side):
        data = copy_of(streets, tmp_path / 'data')
        for file in (data / 'msls' / 'train' / side).rglob('*.jpg'):
            replace(file, b'')
        with pytest.raises(InputError, match=r'no triplet of sequences is readable: .* is empty'):
            train_jist(jist_job(data), tmp_path / 'run')

    @pytest.mark.slow
    def test_broken_images_are_left_out_and_counted(self, streets, tmp_path, caplog):
        data = copy_of(streets, tmp_path / 'data')
        broken = damage(data, 6)
        caplog.set_level(logging.INFO, 'seqnet_ros')
        train_jist(jist_job(data, queries=60, drawn=100), tmp_path / 'run')
        events = EventAccumulator(str(tmp_path / 'run')).Reload()
        counted = events.Scalars('Train/Images left out')[-1].value
        assert 0.7 * broken < counted <= broken
        warnings = [record.getMessage() for record in caplog.records
                    if record.levelno == logging.WARNING]
        assert any(f'skipped {counted:.0f} unreadable images so far' in text for text in warnings)
        assert any('queries with no positive or fewer than 4 negatives' in text
                   for text in warnings)


@pytest.fixture(scope='module')
def trained(streets, tmp_path_factory) -> tuple[JistTraining, Best, Path]:
    """A training of two epochs and its folder."""
    job, folder = jist_job(streets), tmp_path_factory.mktemp('trained')
    return job, train_jist(job, folder), folder


class TestWhatIsKept:
    def test_the_model_finds_what_its_validation_found(self, trained):
        job, best, folder = trained
        model = load_model(folder / 'model.yaml', 'cpu')
        assert model.engine.sequence.length == 3
        described = [describe_all(side, model.describer.describe)
                     for side in (job.validation.database, job.validation.queries)]
        report = evaluate(*described, model.aggregator, job.validation.truth(4))
        for n, value in best.recalls.items():
            assert report.recalls.values[n] == pytest.approx(value, abs=0.011)
        again = start_model(folder / 'model.yaml', None, 5, {'length': 3, 'aggregator': 'seqgem'})
        assert torch.equal(again.aggregator.p, model.aggregator.p.cpu())

    def test_the_last_state_has_the_published_layout(self, trained):
        folder = trained[2]
        state = read_torch(folder / 'last_checkpoint.pth')
        assert state['epoch_num'] == 2
        assert isinstance(state['best_seq_val_recall5'], float)
        assert list(state['model_state_dict']) == list(
            read_tensors(folder / 'best_model.pth')) == list(
            read_tensors(folder / 'last_checkpoint.pth'))
        weights = [torch.nn.Parameter(tensor) for name, tensor in state['model_state_dict'].items()
                   if 'running_' not in name and 'num_batches' not in name]
        torch.optim.Adam(weights).load_state_dict(state['optimizer_state_dict'])
        classifiers = state['classifiers_state_dict']
        assert len(classifiers) == len(state['optimizers_state_dict']) == 2
        for classifier, optimizer in zip(
                classifiers, state['optimizers_state_dict'], strict=True):
            adam = torch.optim.Adam([torch.nn.Parameter(classifier['weight'])], lr=1)
            adam.load_state_dict(optimizer)
            assert adam.param_groups[0]['lr'] == 0.01
            assert adam.state[adam.param_groups[0]['params'][0]]['exp_avg'].shape == (
                classifier['weight'].shape)
        once = sum(tensor.numel() * tensor.element_size() for tensor in (
            *state['model_state_dict'].values(), *(each['weight'] for each in classifiers)))
        assert (folder / 'last_checkpoint.pth').stat().st_size < 4 * once

    def test_a_run_of_another_network_is_not_resumed(self, streets, tmp_path):
        train_jist(jist_job(streets, epochs=1, sub_epochs=1), tmp_path)
        with pytest.raises(ModelError, match=r'last_checkpoint.pth do not fit the network: '
                                             r'aggregation.3.weight is \[32, 24\]'):
            train_jist(jist_job(streets, sub_epochs=1, fc_dim=16), tmp_path, resume=True)
        with pytest.raises(InputError, match=r'a classifier of .* has shape'):
            train_jist(jist_job(streets, sub_epochs=1, cell_side=20), tmp_path, resume=True)

    def test_weights_that_run_away_are_not_kept(self, streets, tmp_path):
        with pytest.raises(InputError, match='not finite after step 4'):
            train_jist(jist_job(streets, images=False, sequence_weight=1e39), tmp_path)
        assert not (tmp_path / 'last_checkpoint.pth').exists()


class TestCommand:
    def test_what_was_trained_describes(self, streets, tmp_path):
        said = succeed('train', 'jist', '--output', tmp_path / 'run', *options(streets),
                       '--epochs', 1, '--workers', 0)
        assert 'best     epoch 1, R@1' in said.stdout
        record = json.loads((tmp_path / 'run' / 'training.json').read_text())
        assert record['settings']['epochs'] == 1
        succeed('describe', streets / 'msls' / 'val' / 'queries' / 'queries',
                '--model', tmp_path / 'run' / 'model.yaml', '--output', tmp_path / 'x.npy')
        assert np.load(tmp_path / 'x.npy').shape == (100, 32)

    def test_cosplace_from_the_command_line(self, streets, tmp_path):
        settings = [option for name, value in {**IMAGES, 'iterations': 4}.items()
                    for option in ('--set', f'{name}={value}')]
        said = succeed('train', 'cosplace', '--output', tmp_path / 'run', '--images',
                       streets / 'sf_xl', '--frame-model', streets / 'small.yaml', *settings,
                       '--epochs', 1, '--device', 'cpu', '--workers', 0)
        assert 'best     epoch 1, R@1' in said.stdout
        succeed('train', 'cosplace', '--output', tmp_path / 'run', '--resume', '--epochs', 2)
        assert read_torch(tmp_path / 'run' / 'last_checkpoint.pth')['epoch_num'] == 2

    def test_bad_input_is_one_sentence(self, streets, tmp_path):
        def refused(*arguments: object) -> str:
            return refusal('train', 'jist', '--output', tmp_path / 'run', *arguments)

        given = options(streets)
        assert '--sequences is missing' in refused(*given[2:])
        assert '--frame-model is missing' in refused(*given[:4])
        assert 'lrate' in refused(*given, '--set', 'lrate=1')
        assert 'positive_radius 9 is above negative_radius 8' in refused(
            *given, '--set', 'positive_radius=9')
        assert 'was given with --resume' in refused(*given, '--resume')
        assert 'training.json cannot be read' in refused('--resume')
        assert "precision '16' needs a GPU" in refused(*given, '--precision', '16')
        assert 'no 120 frames' in refused(*given, '-L', 120)
        assert 'no class has 500 images' in refused(*given, '--set', 'min_images=500')
        assert 'has a place within 0.5 m' in refused(
            *given, '--set', 'positive_radius=0.5')
        assert 'at most 0 of 60 sampled places are farther than 5000 m' in refused(
            *given, '--set', 'negative_radius=5000')
        assert 'nowhere' in refused(*given, '--validation', tmp_path / 'nowhere')
        assert '--images is missing' in refusal('train', 'cosplace', '--output', tmp_path / 'run')
        assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('pattern', 'kind'), [('jist-*.yaml', JistTrainingConfig),
                                               ('cosplace-*.yaml', CosPlaceTrainingConfig)])
def test_recipes_are_valid(pattern, kind):
    import yaml

    recipes = sorted((ROOT / 'config' / 'train').glob(pattern))
    assert recipes
    for recipe in recipes:
        parse_settings(kind, yaml.safe_load(recipe.read_text()), recipe.name)


def test_nothing_was_found_before_the_first_validation():
    assert Best(0, {}).recalls.get(5, -1) == -1
