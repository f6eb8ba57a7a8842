(() => {
  'use strict';
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const [NUMBER, OUTCOME, REASON, WAY, PLACE, FOUND, TRUE, SCORE, DISTANCE, ERROR, X, Y] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
  const rows = data.rows;
  const failures = new Set(data.worst);
  let current = 0;
  let timer = null;

  const way = (value) => value === null ? 'unknown'
    : data.unit === 'm' ? `${value.toFixed(1)} m` : `${Math.round(value)} frames`;

  function showPicture(id, side, frame, words) {
    const image = byId(id);
    const source = data.pictures[side][frame];
    if (source) { image.src = source; image.alt = words; } else { image.removeAttribute('src'); image.alt = ''; }
  }

  function caption(row) {
    const parts = [`Query ${row[NUMBER]}, after ${way(row[WAY])}: ${data.meanings[row[OUTCOME]]}`];
    if (row[REASON] !== 'accepted') parts.push(row[REASON].replace('_', ' '));
    if (row[PLACE] !== -1) parts.push(`place ${row[PLACE]}`);
    if (row[ERROR] !== null) parts.push(`${way(row[ERROR])} off`);
    if (row[SCORE] !== null) parts.push(`score ${row[SCORE].toFixed(3)}, distance ${row[DISTANCE].toFixed(3)}`);
    return `${parts.join(', ')}.`;
  }

  function show(index) {
    if (!rows.length) return;
    current = Math.max(0, Math.min(rows.length - 1, index));
    const row = rows[current];
    byId('caption').textContent = caption(row);
    byId('slider').value = current;
    byId('slider').setAttribute('aria-valuetext', `query ${row[NUMBER]}, ${data.meanings[row[OUTCOME]]}`);
    showPicture('pane-query', 0, row[NUMBER], `Query ${row[NUMBER]}`);
    showPicture('pane-found', 1, row[FOUND], `Place ${row[PLACE]}`);
    byId('truth').classList.toggle('none', row[TRUE] < 0);
    showPicture('pane-true', 1, row[TRUE], 'The true place');
    if (row[X] !== null) { byId('here').setAttribute('cx', row[X]); byId('here').setAttribute('cy', row[Y]); }
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    byId('play').textContent = 'Play';
    byId('play').setAttribute('aria-pressed', 'false');
  }

  function play() {
    if (timer) { stop(); return; }
    if (current >= rows.length - 1) show(0);
    byId('play').textContent = 'Pause';
    byId('play').setAttribute('aria-pressed', 'true');
    timer = setInterval(() => { if (current >= rows.length - 1) stop(); else show(current + 1); }, 200);
  }

  function nextFailure() {
    for (let step = 1; step <= rows.length; step += 1) {
      const index = (current + step) % rows.length;
      if (failures.has(index)) { show(index); return; }
    }
  }

  const keys = {
    ArrowLeft: () => show(current - 1), ArrowRight: () => show(current + 1),
    PageUp: () => show(current - 10), PageDown: () => show(current + 10),
    Home: () => show(0), End: () => show(rows.length - 1), f: nextFailure,
  };

  byId('slider').max = Math.max(rows.length - 1, 0);
  byId('slider').addEventListener('input', (event) => show(Number(event.target.value)));
  byId('previous').addEventListener('click', () => show(current - 1));
  byId('next').addEventListener('click', () => show(current + 1));
  byId('next-failure').addEventListener('click', nextFailure);
  byId('play').addEventListener('click', play);
  byId('viewer').addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === ' ' && event.target.tagName !== 'BUTTON') { play(); event.preventDefault(); return; }
    if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
  });
  document.querySelectorAll('.card').forEach((card) => card.addEventListener('click', () => {
    show(Number(card.dataset.row));
    byId('frames').scrollIntoView();
    byId('slider').focus({ preventScroll: true });
  }));
  document.querySelectorAll('[data-toggle]').forEach((box) => box.addEventListener('change', () => {
    document.querySelectorAll(`#route [data-outcome="${box.dataset.toggle}"]`).forEach((mark) => {
      mark.style.display = box.checked ? '' : 'none';
    });
  }));
  byId('route').addEventListener('click', (event) => {
    const point = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(byId('route').getScreenCTM().inverse());
    let nearest = -1;
    let least = Infinity;
    rows.forEach((row, index) => {
      if (row[X] === null) return;
      const gap = (row[X] - point.x) ** 2 + (row[Y] - point.y) ** 2;
      if (gap < least) { least = gap; nearest = index; }
    });
    if (nearest >= 0) show(nearest);
  });

  const timing = window.evaluationTiming;
  if (timing) {
    const [, value, words] = byId('timing').children;
    const each = (name) => timing[name] ? `${timing[name].p50} ms (99 %: ${timing[name].p99} ms)` : '-';
    value.textContent = `${timing.replay_seconds} s`;
    words.textContent = `For ${timing.recorded_seconds} s of recording: ${each('describe_milliseconds')} to describe a frame, ${each('match_milliseconds')} to match it`
      + (timing.peak_memory_bytes === null ? '' : `; peak memory growth ${(timing.peak_memory_bytes / 1e6).toFixed(0)} MB`);
    byId('timing').hidden = false;
  }
  show(rows.findIndex((row) => row[PLACE] !== -1));
})();
