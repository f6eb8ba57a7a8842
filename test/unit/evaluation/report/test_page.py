"""The report in a real browser: it fits, it reads in the dark, and the keyboard works it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.belief_history import BELIEF, read_belief
from seqnet_ros.evaluation.replay.evaluate_recordings import (
    EvaluationRequest,
    EvaluationRun,
    evaluate_recordings,
)
from seqnet_ros.evaluation.replay.recordings import RecordingOptions
from seqnet_ros.evaluation.replay.run_files import read_queries
from seqnet_ros.evaluation.report.page import group_failures, render_page, worst_first, write_report
from seqnet_ros.evaluation.report.similarity_matrix import similarity_picture
from seqnet_town import DAY, DUSK, Camera, Drive, Town

BROWSER = next(filter(None, map(shutil.which, (
    'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason='neither chromium nor google-chrome is on PATH')
PHONE, DESK = 360, 1100
# What the page is asked, from within; the answers go into the document.
PROBE = """
<script>
window.addEventListener('load', () => setTimeout(() => {
  const key = (key, target) => target.dispatchEvent(
    new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  const caption = () => document.getElementById('caption').textContent;
  const slider = document.getElementById('slider');
  const wide = [...document.querySelectorAll('body *')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.right > innerWidth + 1 && !one.closest('.scroll') && !one.closest('svg')
      && !one.closest('.skip');
  }).map((one) => one.tagName + '.' + one.className);
  const answers = {width: innerWidth, scroll: document.documentElement.scrollWidth, wide,
    background: getComputedStyle(document.body).backgroundColor,
    color: getComputedStyle(document.body).color, captions: [caption()]};
  slider.focus();
  answers.focused = document.activeElement.id;
  answers.outline = parseFloat(getComputedStyle(slider).outlineWidth);
  for (const name of ['ArrowRight', 'ArrowRight', 'ArrowLeft', 'End', 'Home', 'PageDown', 'f']) {
    key(name, slider);
    answers.captions.push(caption());
  }
  answers.picture = document.getElementById('pane-query').src.slice(0, 22);
  key(' ', slider);
  answers.playing = document.getElementById('play').getAttribute('aria-pressed');
  key(' ', slider);
  answers.stopped = document.getElementById('play').getAttribute('aria-pressed');
  const card = document.querySelector('.card');
  if (card) { card.click(); answers.card = [card.dataset.row, slider.value]; }
  const box = document.querySelector('[data-toggle]');
  box.click();
  answers.hidden = document.querySelector(`#route [data-outcome="${box.dataset.toggle}"]`)
    .style.display;
  answers.reachable = [...document.querySelectorAll('a, button, input, summary, [tabindex]')]
    .filter((one) => one.tabIndex < 0).length;
  answers.unnamed = [...document.querySelectorAll('svg[role=img], button, input, img[src]')]
    .filter((one) => !(one.getAttribute('aria-label') || one.getAttribute('aria-labelledby')
      || one.textContent.trim() || one.alt || one.labels?.length)).length;
  const belief = document.querySelector('#belief .belief:not(.swatch)');
  answers.belief = belief && [belief.getBoundingClientRect().width,
    getComputedStyle(belief).fill, getComputedStyle(belief).maskImage];
  answers.scripts = [...document.scripts].map((one) => one.getAttribute('src')).filter(Boolean);
  answers.timing = document.getElementById('timing').hidden;
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  answers.twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  answers.refused = [];
  document.addEventListener('securitypolicyviolation', (event) => {
    answers.refused.push(event.effectiveDirective);
  });
  new Image().src = 'http://127.0.0.1:9/picture.png';
  fetch('http://127.0.0.1:9/').catch(() => {});
  setTimeout(() => parent.postMessage(JSON.stringify(answers), '*'), 300);
}, 100));
</script>
"""
# A window is never narrower than 500 pixels; a frame in it is.
WINDOW = """<!doctype html><body style="margin: 0">
<iframe src="{page}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>
addEventListener('message', (event) => {{
  const result = document.createElement('pre');
  result.id = 'answers';
  result.textContent = event.data;
  document.body.append(result);
}});
</script>"""


@pytest.fixture(scope='module')
def drives(tmp_path_factory) -> tuple[Path, Path]:
    """A street by day and, further on, at dusk, with names that HTML must not trust."""
    folder = tmp_path_factory.mktemp('drives')
    paths = []
    for name, light, length in (('day', DAY, 60.0), ('<b>dusk & "fog"', DUSK, 80.0)):
        drive = Drive(Town(7, (2, 1)), light, Camera(160, 120), length=length, speed=8.0, seed=1)
        paths.append(folder / name)
        paths[-1].mkdir()
        rows = []
        for index in range(len(drive)):
            image = cv2.cvtColor(drive.render(index), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(paths[-1] / f'{index}.jpg'), image)
            rows.append(f'{0.1 * index:.3f} ' + ' '.join(map(str, drive.poses[index])))
        paths[-1].with_name(f'{name}.tum').write_text('\n'.join(rows))
    return paths[0], paths[1]


def evaluate(drives: tuple[Path, Path], folder: Path, tolerance: str,
             **settings: object) -> EvaluationRun:
    first, second = (RecordingOptions((path,), poses=(path.with_name(f'{path.name}.tum'),))
                     for path in drives)
    return evaluate_recordings(EvaluationRequest(
        second, Tolerance.parse(tolerance), first, settings=settings), folder)


@pytest.fixture(scope='module')
def run(tmp_path_factory, drives) -> tuple[EvaluationRun, Path]:
    """An evaluation in metres and its report."""
    folder = tmp_path_factory.mktemp('run')
    evaluated = evaluate(drives, folder, '2m')
    return evaluated, write_report(evaluated, folder)


def browse(page: Path, width: int, folder: Path, *flags: str) -> dict[str, Any]:
    """Open a copy of the page and return its answers."""
    assert BROWSER is not None
    probed = folder / f'probed-{width}.html'
    probed.write_text(page.read_text().replace('</body>', PROBE + '</body>'))
    timing = page.with_name('timing.js')
    if timing.exists() and page.parent != folder:
        shutil.copy(timing, folder)
    window = folder / f'window-{width}.html'
    window.write_text(WINDOW.format(page=probed.name, width=width))
    done = subprocess.run(
        [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
         f'--user-data-dir={folder / "profile"}', '--window-size=1200,900',
         '--virtual-time-budget=4000', *flags, '--dump-dom', window.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="answers">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.slow
@needs_browser
class TestInABrowser:
    @pytest.mark.parametrize('width', [PHONE, DESK])
    def test_it_fits_and_the_keyboard_works(self, run, tmp_path, width):
        evaluated, page = run
        found = browse(page, width, tmp_path)
        assert found['width'] == width
        assert found['scroll'] <= width
        assert found['wide'] == []
        assert found['twice'] == []
        assert found['unnamed'] == 0
        assert found['reachable'] == 0
        captions = found['captions']
        numbers = [int(re.match(r'Query (\d+)', words)[1]) for words in captions]
        rows = [query.number for query in evaluated.replayed.queries]
        first = rows.index(numbers[0])
        assert numbers[1:6] == [rows[first + 1], rows[first + 2], rows[first + 1], rows[-1],
                                rows[0]]
        assert numbers[6] == rows[10]
        failures = [evaluated.replayed.queries[row].number
                    for row in worst_first(evaluated.replayed.queries)]
        assert numbers[7] == min(number for number in failures if number > rows[10])
        assert found['picture'] == 'data:image/webp;base64'
        assert (found['playing'], found['stopped']) == ('true', 'false')
        assert found['card'][0] == found['card'][1]
        assert found['focused'] == 'slider'
        assert found['hidden'] == 'none'
        assert 0.7 * width < found['belief'][0] < width
        assert 'belief-mask' in found['belief'][2]

    def test_nothing_is_loaded_but_the_timing_beside_it(self, run, tmp_path):
        found = browse(run[1], DESK, tmp_path)
        assert found['scripts'] == ['timing.js']
        assert sorted(found['refused']) == ['connect-src', 'img-src']
        assert found['timing'] is False
        alone = tmp_path / 'alone'
        alone.mkdir()
        shutil.copy(run[1], alone)
        elsewhere = tmp_path / 'elsewhere'
        elsewhere.mkdir()
        assert browse(alone / run[1].name, DESK, elsewhere)['timing'] is True

    def test_dark_mode(self, run, tmp_path):
        def brightness(color: str) -> float:
            return float(np.mean([int(part) for part in re.findall(r'\d+', color)[:3]]))

        light = browse(run[1], DESK, tmp_path, '--blink-settings=preferredColorScheme=1')
        dark = browse(run[1], DESK, tmp_path, '--blink-settings=preferredColorScheme=0')
        assert brightness(light['background']) > 240
        assert brightness(light['color']) < 60
        assert brightness(dark['background']) < 40
        assert brightness(dark['color']) > 200
        assert brightness(light['belief'][1]) < 80
        assert brightness(dark['belief'][1]) > 180

    def test_a_drive_in_frames_without_any_hit(self, drives, tmp_path):
        evaluated = evaluate(drives, tmp_path, '0frames')
        found = browse(write_report(evaluated, tmp_path), PHONE, tmp_path)
        assert found['scroll'] <= PHONE
        assert found['wide'] == []


class TestPage:
    def test_it_holds_everything_and_no_address(self, run):
        evaluated, page = run
        text = page.read_text()
        without_pictures = re.sub(r'data:image/[a-z]+;base64,[A-Za-z0-9+/=]+', '', text)
        assert not re.search(r'(?:src|href)="(?!#|timing\.js|")[^"]', without_pictures)
        assert 'http://' not in without_pictures
        assert 'https://' not in without_pictures
        for words in ('Recall@20', 'Calibration error', 'First fix', 'Similarity matrix',
                      'fingerprint', 'numpy', 'agreement_window'):
            assert words in text
        assert evaluated.results.verdict.headline in text
        assert '<b>dusk' not in text
        assert '&lt;b&gt;dusk &amp;' in text

    def test_a_search_with_sequences_has_its_reasons_and_no_belief(self, drives, tmp_path):
        evaluated = evaluate(drives, tmp_path, '2m', **{
            'localization.method': 'sequence', 'sequence.length': 5})
        text = render_page(evaluated)
        assert 'id="belief"' not in text
        assert 'Error of the pose' not in text
        assert evaluated.results.measures.accepted.pose_error is None
        assert not (tmp_path / BELIEF).exists()
        assert 'The sequence is not long enough yet' in text
        assert {row['off_map'] for row in read_queries(tmp_path)} == {''}

    def test_the_belief_is_that_of_the_run(self, run):
        evaluated, page = run
        rows, history = read_queries(page.parent), read_belief(page.parent)
        assert 'id="belief"' in page.read_text()
        assert 'The sequence is not long enough yet' not in page.read_text()
        assert history.results == len(rows)
        assert history.places == evaluated.results.map.places
        # What is not at a place is off the map.
        whole = history.probabilities.sum(axis=1) + [float(row['off_map']) for row in rows]
        np.testing.assert_allclose(whole, 1, atol=1e-4)

    def test_errors_of_poses_are_those_of_the_table(self, run):
        evaluated, page = run
        accepted = evaluated.results.measures.accepted
        rows = [row for row in read_queries(page.parent) if row['pose_error']]
        errors = [float(row['pose_error']) for row in rows if row['accepted'] == 'true']
        assert np.median(errors) == pytest.approx(accepted.pose_error.median, abs=1e-5)
        for row in rows:
            apart = np.hypot(float(row['pose_x']) - float(row['x']),
                             float(row['pose_y']) - float(row['y']))
            assert float(row['pose_error']) == pytest.approx(apart, abs=0.01)
        assert 'Error of the pose' in page.read_text()

    def test_words_hold_in_light_and_dark(self, run):
        words = re.sub('<[^>]+>', ' ', run[1].read_text(encoding='utf-8').split('<main')[-1])
        assert 'left bars count searches' in words
        assert not re.search(r'\b(dark|light) (counts|the way)', words)

    def test_the_same_run_gives_the_same_page(self, run):
        assert render_page(run[0]) == run[1].read_text()

    def test_pictures_keep_to_their_budget(self, run):
        small = render_page(run[0], budget=60_000)
        pictures = re.findall(r'data:image/webp;base64,([A-Za-z0-9+/=]+)', small)
        assert len(pictures) > 10
        assert sum(map(len, set(pictures))) < 60_000 * 4 / 3 + 4e3

    def test_wrong_places_come_first_and_neighbours_are_one(self, run):
        queries = run[0].replayed.queries
        order = worst_first(queries)
        outcomes = [queries[row].judged.outcome for row in order]
        assert outcomes == sorted(outcomes, key=['wrong', 'lost', 'missed'].index)
        episodes = group_failures(queries, order)
        assert sorted(row for episode in episodes for row in episode) == sorted(order)
        assert episodes[0][0] == order[0]

    def test_rows_of_the_table_are_those_of_the_page(self, run):
        page = run[1]
        data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])
        table = read_queries(page.parent)
        assert [(str(row[0]), row[1]) for row in data['rows']] == [
            (row['query'], row['outcome']) for row in table]


def test_the_matrix_shows_the_diagonal():
    rng = np.random.default_rng(2)
    places = rng.normal(size=(1500, 32)).astype(np.float32)
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    picture = similarity_picture(places[200:900], places)
    assert picture.shape == (640, 640)
    brightest = picture[320].argmax()
    assert brightest == pytest.approx(640 * 550 / 1500, abs=2)
