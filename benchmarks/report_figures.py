"""Make the pictures of reports in ``docs/images``: ``python -m benchmarks.report_figures DATA``.

``DATA`` holds ``gardens_point`` and ``rtabmap_loop``. Needs chromium or google-chrome on PATH.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent.parent / 'docs' / 'images'
_BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
_COLOURS = 256
_DARK = '--blink-settings=preferredColorScheme=0'


def main() -> None:
    """Evaluate both recordings and take pictures of their reports."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.report_figures', description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--output', type=Path, default=Path('build/figures'))
    arguments = parser.parse_args()
    gardens, loop = arguments.data / 'gardens_point', arguments.data / 'rtabmap_loop'
    day = _evaluate(arguments.output / 'gardens', [
        '--map-source', gardens / 'day_left', '--query-source', gardens / 'day_right',
        '--tolerance', '2frames', '-L', '10'])
    laps = _evaluate(arguments.output / 'rtabmap_loop', [
        '--map-source', loop, '--map-range', '0:40', '--query-source', loop, '--query-range',
        '40:', '--pairs', loop / 'revisit_pairs.csv', '--tolerance', '2frames', '-L', '5'])
    for name, page, size, sections, flags in (
            ('evaluation_gardens', day, (900, 1180), (), ()),
            ('evaluation_gardens_matrix', day, (1000, 1240), ('curves', 'matrix'), ()),
            ('evaluation_loop', laps, (900, 1180), (), (_DARK,)),
            ('evaluation_loop_frames', laps, (900, 870), ('where', 'frames'), (_DARK,))):
        _photograph(page, IMAGES / f'{name}.png', size, sections, flags)


def _evaluate(folder: Path, options: list[object]) -> Path:
    command = [sys.executable, '-m', 'seqnet_ros.cli.main', 'evaluate', 'bags',
               *map(str, options), '--output', str(folder)]
    print(' '.join(command))
    subprocess.run(command, check=True)
    return folder / 'report.html'


def _photograph(page: Path, picture: Path, size: tuple[int, int], sections: tuple[str, ...],
                flags: tuple[str, ...]) -> None:
    """Take a picture of a page, or of some of its sections."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit(f'none of {", ".join(_BROWSERS)} is on PATH')
    shown = page.with_name(f'{picture.stem}.html')
    others = ''.join(f':not(#{name})' for name in sections)
    hidden = f'<style>header, nav, main > section{others} {{ display: none }}</style>'
    shown.write_text(page.read_text().replace('</head>', (hidden if sections else '') + '</head>'))
    subprocess.run(
        [browser, '--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
         f'--window-size={size[0]},{size[1]}', '--virtual-time-budget=4000', *flags,
         f'--screenshot={picture}', shown.resolve().as_uri()], check=True, capture_output=True)
    # With a palette it is a third of the size.
    reduced = Image.open(picture).convert('RGB').quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    reduced.save(picture, optimize=True)
    print(picture, picture.stat().st_size // 1000, 'kB')


if __name__ == '__main__':
    main()
