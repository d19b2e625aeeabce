"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const meta = JSON.parse($("meta").textContent);
  const MM = 96 / 25.4;                 // CSS pixels a millimetre
  const LONGEST = 6e6;                  // px; browsers cannot scroll much further, longer recordings come in parts
  const OVERLAP = 40;                   // rows that two parts share: more than any screen shows
  const CACHE = 48;                     // chunks kept decoded
  const NORMAL = 255;
  const scroller = $("scroller"), sheet = $("sheet"), position = $("position"), overview = $("overview");

  // --- time and words -------------------------------------------------------------------------------
  const two = (n) => String(n).padStart(2, "0");
  function clock(seconds, decimals = 0) {
    const unit = 10 ** decimals, ticks = Math.round(seconds * unit), s = Math.floor(ticks / unit);
    const rest = decimals ? "." + String(ticks % unit).padStart(decimals, "0") : "";
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}${rest}`;
  }
  function daytime(seconds) {
    if (meta.start === null) return "";
    const s = Math.floor(meta.start + seconds), day = Math.floor(s / 86400);
    return `${two(Math.floor(s / 3600) % 24)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}${day ? ` (day ${day + 1})` : ""}`;
  }

  // --- data -----------------------------------------------------------------------------------------
  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const chunks = new Map();
  function chunk(k) {
    if (chunks.has(k)) {
      const known = chunks.get(k);
      chunks.delete(k);
      chunks.set(k, known);             // the most recently used comes last
      return known;
    }
    const element = $("c" + k);
    const loaded = element === null ? Promise.resolve(null) : inflate(element.textContent).then(decode);
    chunks.set(k, loaded);
    if (chunks.size > CACHE) chunks.delete(chunks.keys().next().value);
    return loaded;
  }
  function decode(bytes) {
    const n = bytes.length / 2, length = n / meta.leads.length, leads = [];
    for (let lead = 0, i = 0; lead < meta.leads.length; lead++) {
      const values = new Int16Array(length);
      for (let k = 0, value = 0; k < length; k++, i++) {
        const zigzag = bytes[i] | (bytes[n + i] << 8);
        value += (zigzag >>> 1) ^ -(zigzag & 1);
        values[k] = value;
      }
      leads.push(values);
    }
    return leads;
  }
  async function read(start, stop) {
    // samples [start, stop) of each lead in mV, NaN where missing; null where nothing is in this file
    const first = Math.floor(start / meta.chunk), last = Math.floor((stop - 1) / meta.chunk);
    const wanted = [];
    for (let k = first; k <= last; k++) wanted.push(chunk(k));
    const parts = await Promise.all(wanted);
    if (parts.every((part) => part === null)) return null;
    return meta.leads.map((_, lead) => {
      const values = new Float32Array(stop - start).fill(NaN);
      parts.forEach((part, j) => {
        if (part === null) return;
        const offset = (first + j) * meta.chunk, source = part[lead];
        const from = Math.max(start, offset), to = Math.min(stop, offset + source.length);
        for (let s = from; s < to; s++) {
          const value = source[s - offset];
          if (value !== -32768) values[s - start] = value * meta.step;
        }
      });
      return values;
    });
  }

  const beats = { n: 0 };
  async function readBeats() {
    const bytes = await inflate($("beats").textContent), n = bytes.length / 10;
    const at = new Uint32Array(bytes.buffer, 0, n);   // ms; the others follow
    const before = new Uint16Array(bytes.buffer, 4 * n, n), after = new Uint16Array(bytes.buffer, 6 * n, n);
    beats.n = n;
    beats.time = Float64Array.from(at, (ms) => ms / 1000);
    beats.start = beats.time.map((t, k) => t - before[k] / 1000);
    beats.stop = beats.time.map((t, k) => t + after[k] / 1000);
    beats.kind = bytes.subarray(8 * n, 9 * n);
    beats.score = bytes.subarray(9 * n, 10 * n);
  }
  function firstBeat(time) {
    let low = 0, high = beats.n;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beats.time[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  // --- layout ---------------------------------------------------------------------------------------
  let layout, part = 0, selected = -1, rows = new Map(), colours;
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue("--" + name).trim();
    colours = { sheet: of("sheet"), fine: of("fine"), coarse: of("coarse"), trace: of("trace"), muted: of("muted"), gap: of("gap"), ink: of("ink"),
      classes: meta.classes.map((c) => of("class-" + c.colour)) };
  }
  function measure() {
    const width = Math.max(200, scroller.clientWidth - 18), seconds = Number($("scale").value);
    const shown = $("leads").value === "all" ? meta.leads.map((_, k) => k) : [Number($("leads").value)];
    // at the paper's scale, as many seconds (on phones: large boxes) as fit; otherwise as asked for, and the gain is a quarter to a half
    const fit = width / (25 * MM);
    const span = seconds || (fit < 8 ? Math.floor(fit * 5) / 5 : Math.floor(fit));
    const perSecond = seconds ? width / span : 25 * MM;
    const perMv = (seconds === 60 ? 2.5 : seconds === 30 ? 5 : 10) * MM;
    const lanes = shown.map((lead) => {
      const [low, high] = meta.range[lead], box = 5 * MM;
      const up = Math.ceil(high * perMv / box) * box, down = Math.ceil(-low * perMv / box) * box;
      return { lead, up: Math.max(up, box), down: Math.max(down, box) };
    });
    let y = 5 * MM;
    for (const lane of lanes) { lane.base = y + lane.up; y = lane.base + lane.down; }
    const height = Math.ceil(y), pitch = height + 30;
    const n = Math.ceil(meta.duration / span), step = Math.floor(LONGEST / pitch) - OVERLAP;
    const nParts = Math.max(1, Math.ceil((n - OVERLAP) / step));
    layout = { span, perSecond, perMv, lanes, height, pitch, n, step, nParts, width: span * perSecond };
  }
  function base() { return part * layout.step; }
  function partRows() { return Math.min(layout.step + OVERLAP, layout.n - base()); }
  function setPart(k) {
    part = k;
    sheet.style.height = partRows() * layout.pitch + 10 + "px";
    clear();
  }
  function clear() {
    for (const row of rows.values()) row.element.remove();
    rows.clear();
  }
  function relayout() {
    const time = topTime();
    measure();
    setPart(0);
    goto(time, false);
  }
  function topTime() {
    if (!layout) return 0;
    return (base() + scroller.scrollTop / layout.pitch) * layout.span;
  }

  // --- drawing --------------------------------------------------------------------------------------
  function show() {
    const top = scroller.scrollTop, first = Math.max(0, Math.floor(top / layout.pitch) - 1);
    const last = Math.min(partRows() - 1, Math.ceil((top + scroller.clientHeight) / layout.pitch) + 1);
    for (const [k, row] of rows) if (k < first || k > last) { row.element.remove(); rows.delete(k); }
    for (let k = first; k <= last; k++) if (!rows.has(k)) rows.set(k, makeRow(k));
    const time = Math.min(meta.duration, Math.round(topTime()));
    position.value = time;
    position.setAttribute("aria-valuetext", clock(time));
    drawOverview();
  }
  function makeRow(k) {
    const start = (base() + k) * layout.span, stop = Math.min(start + layout.span, meta.duration);
    const element = document.createElement("div"), canvas = document.createElement("canvas");
    element.className = "row";
    element.style.top = k * layout.pitch + 4 + "px";
    element.innerHTML = `<div class="when"><span>${clock(start, Number.isInteger(layout.span) ? 0 : 1)}</span><span>${daytime(start)}</span></div>`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", describe(start, stop));
    element.append(canvas);
    sheet.append(element);
    const row = { element, canvas, start, stop };
    fill(row);
    return row;
  }
  function describe(start, stop) {
    const words = [];
    for (let k = firstBeat(start); k < beats.n && beats.time[k] < stop && words.length < 20; k++) {
      if (beats.kind[k] !== NORMAL) words.push(`${meta.classes[beats.kind[k]].symbol} at ${clock(beats.time[k], 1)}`);
    }
    return `${clock(start)} to ${clock(stop)}: ${words.length ? words.join(", ") : "no abnormal beat"}`;
  }
  async function fill(row) {
    const shape = layout, ratio = Math.min(window.devicePixelRatio || 1, 2);
    row.canvas.width = Math.round(shape.width * ratio);
    row.canvas.height = Math.round(shape.height * ratio);
    row.canvas.style.width = shape.width + "px";
    row.canvas.style.height = shape.height + "px";
    const draw = row.canvas.getContext("2d");
    draw.scale(ratio, ratio);
    drawPaper(draw, shape);
    const start = Math.round(row.start * meta.rate), stop = Math.min(meta.n, Math.round(row.stop * meta.rate));
    if (stop <= start) return;
    const signal = await read(start, stop);
    if (shape !== layout || !row.element.isConnected) return;
    drawMarks(draw, row, shape);
    if (signal === null) {
      draw.fillStyle = colours.muted;
      draw.font = "13px system-ui, sans-serif";
      draw.fillText("left out of this file: no abnormal beat here", 12, shape.height / 2);
    } else {
      for (const lane of shape.lanes) drawTrace(draw, signal[lane.lead], lane, shape);
    }
    drawNames(draw, shape);
    row.canvas.dataset.drawn = "true";
  }
  function drawPaper(draw, shape) {
    draw.fillStyle = colours.sheet;
    draw.fillRect(0, 0, shape.width, shape.height);
    const paper = shape.perSecond > 20 * MM;
    for (const [mm, colour, width] of paper ? [[1, colours.fine, 0.7], [5, colours.coarse, 1]] : [[5, colours.fine, 1]]) {
      // beyond the paper's own scale the vertical lines are seconds
      const dx = paper ? mm * MM : shape.perSecond;
      draw.beginPath();
      for (let x = 0; x <= shape.width + 0.1; x += dx) { draw.moveTo(x, 0); draw.lineTo(x, shape.height); }
      for (let y = 0; y <= shape.height + 0.1; y += mm * MM) { draw.moveTo(0, y); draw.lineTo(shape.width, y); }
      draw.strokeStyle = colour;
      draw.lineWidth = width;
      draw.stroke();
    }
  }
  function drawMarks(draw, row, shape) {
    const x = (time) => (time - row.start) * shape.perSecond, small = shape.perSecond < 20 * MM;
    for (const [start, stop] of meta.unreadable) {
      if (stop <= row.start || start >= row.stop) continue;
      const left = Math.max(0, x(start)), right = Math.min(shape.width, x(stop));
      draw.save();
      draw.beginPath();
      draw.rect(left, 0, right - left, shape.height);
      draw.clip();
      draw.globalAlpha = 0.4;
      draw.strokeStyle = colours.gap;
      draw.beginPath();
      for (let at = left - shape.height; at < right; at += 9) { draw.moveTo(at, shape.height); draw.lineTo(at + shape.height, 0); }
      draw.stroke();
      draw.restore();
      draw.fillStyle = colours.muted;
      draw.font = "12px system-ui, sans-serif";
      draw.textAlign = "left";
      if (right - left > 70) draw.fillText("unreadable", left + 6, shape.height - 6);
    }
    draw.textAlign = "center";
    for (let k = firstBeat(row.start - 2); k < beats.n && beats.start[k] < row.stop; k++) {
      const kind = beats.kind[k], middle = x(beats.time[k]);
      const left = Math.max(0, x(beats.start[k])), right = Math.min(shape.width, x(beats.stop[k]));
      if (kind !== NORMAL && right > left) {
        draw.fillStyle = colours.classes[kind];
        draw.globalAlpha = 0.12 + 0.2 * beats.score[k] / 255;
        draw.fillRect(left, 0, right - left, shape.height);
        draw.globalAlpha = 1;
        if (k === selected) {
          draw.strokeStyle = colours.classes[kind];
          draw.lineWidth = 2;
          draw.strokeRect(left + 1, 1, right - left - 2, shape.height - 2);
        }
      }
      if (beats.time[k] < row.start || beats.time[k] >= row.stop) continue;
      if (kind === NORMAL && small) continue;
      draw.fillStyle = kind === NORMAL ? colours.muted : colours.classes[kind];
      draw.font = kind === NORMAL ? "11px system-ui, sans-serif" : "bold 14px system-ui, sans-serif";
      draw.fillText(kind === NORMAL ? meta.normal : meta.classes[kind].symbol, Math.min(Math.max(middle, 5), shape.width - 5), 14);
    }
    draw.textAlign = "left";
  }
  function drawTrace(draw, values, lane, shape) {
    const known = values.filter((v) => !Number.isNaN(v)).sort();
    if (!known.length) return;
    const centre = known[known.length >> 1], dx = shape.perSecond / meta.rate;
    draw.beginPath();
    let pen = false;
    for (let k = 0; k < values.length; k++) {
      if (Number.isNaN(values[k])) { pen = false; continue; }
      const x = k * dx, y = Math.min(Math.max(lane.base - (values[k] - centre) * shape.perMv, 0), shape.height);
      if (pen) draw.lineTo(x, y); else draw.moveTo(x, y);
      pen = true;
    }
    draw.strokeStyle = colours.trace;
    draw.lineWidth = shape.perSecond > 20 * MM ? 1.2 : 0.9;
    draw.lineJoin = "round";
    draw.stroke();
  }
  function drawNames(draw, shape) {
    draw.font = "600 12px system-ui, sans-serif";
    for (const lane of shape.lanes) {
      const y = lane.base - 16;
      draw.lineWidth = 3;
      draw.strokeStyle = colours.sheet;
      draw.strokeText(meta.leads[lane.lead], 5, y);
      draw.fillStyle = colours.ink;
      draw.fillText(meta.leads[lane.lead], 5, y);
    }
  }
  function drawOverview() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), width = overview.clientWidth, height = overview.clientHeight;
    overview.width = width * ratio;
    overview.height = height * ratio;
    const draw = overview.getContext("2d"), x = (time) => time / meta.duration * width;
    draw.scale(ratio, ratio);
    draw.fillStyle = colours.gap;
    draw.globalAlpha = 0.35;
    for (const [start, stop] of meta.unreadable) draw.fillRect(x(start), 0, Math.max(1, x(stop) - x(start)), height);
    const lanes = meta.classes.length, counts = meta.classes.map(() => new Float32Array(Math.ceil(width) + 1));
    for (let k = 0; k < beats.n; k++) if (beats.kind[k] !== NORMAL) counts[beats.kind[k]][Math.floor(x(beats.time[k]))]++;
    counts.forEach((count, c) => {
      const top = Math.max(...count), each = height / lanes;
      draw.fillStyle = colours.classes[c];
      count.forEach((n, at) => {
        if (!n) return;
        draw.globalAlpha = 0.3 + 0.7 * n / top;
        draw.fillRect(at, c * each + 2, 1.2, each - 4);
      });
    });
    draw.globalAlpha = 1;
    const seen = scroller.clientHeight / layout.pitch * layout.span;
    draw.strokeStyle = colours.ink;
    draw.lineWidth = 1.5;
    draw.strokeRect(Math.min(x(topTime()), width - 4) + 0.75, 0.75, Math.max(3, x(seen)), height - 1.5);
  }

  // --- moving ---------------------------------------------------------------------------------------
  function goto(time, centre = true) {
    time = Math.min(Math.max(time, 0), meta.duration - 1e-3);
    const row = Math.floor(time / layout.span), wanted = Math.floor((row - OVERLAP / 2) / layout.step);
    const inside = Math.min(Math.max(wanted, 0), layout.nParts - 1);
    if (inside !== part) setPart(inside);
    const y = (row - base()) * layout.pitch;
    scroller.scrollTop = centre ? y - Math.max(0, (scroller.clientHeight - layout.pitch) / 2) : y;
    show();
  }
  function wantedKinds() {
    const which = $("which").value;
    return (kind) => kind !== NORMAL && (which === "all" || kind === Number(which));
  }
  function step(direction) {
    const wanted = wantedKinds();
    let k = selected;
    if (k < 0) k = firstBeat(topTime()) - (direction > 0 ? 1 : 0);
    for (k += direction; k >= 0 && k < beats.n; k += direction) if (wanted(beats.kind[k])) return select(k);
    $("status").textContent = direction > 0 ? "No further abnormal beat." : "No earlier abnormal beat.";
  }
  function select(k) {
    selected = k;
    clear();
    goto(beats.time[k]);
    const same = wantedKinds();
    let rank = 0, all = 0;
    for (let j = 0; j < beats.n; j++) if (same(beats.kind[j])) { all++; if (j <= k) rank++; }
    const kind = meta.classes[beats.kind[k]], words = [`${kind.symbol} (${kind.name})`, clock(beats.time[k], 1)];
    if (daytime(0)) words.push(daytime(beats.time[k]));
    if (meta.scores) words.push(`score ${(beats.score[k] / 255).toFixed(2)}`);
    $("status").textContent = `${words.join(" · ")} · ${rank} of ${all}`;
  }
  function reveal(time) {
    $("recording").scrollIntoView({ block: "start" });
    const near = firstBeat(time - 0.002);
    if (near < beats.n && beats.time[near] - time < 0.05 && beats.kind[near] !== NORMAL) select(near); else goto(time);
    scroller.focus({ preventScroll: true });
  }

  // --- events ---------------------------------------------------------------------------------------
  function listen() {
    scroller.addEventListener("scroll", () => requestAnimationFrame(scrolled), { passive: true });
    position.addEventListener("input", () => goto(Number(position.value), false));
    overview.addEventListener("pointerdown", (event) => goto(event.offsetX / overview.clientWidth * meta.duration));
    $("next").addEventListener("click", () => step(1));
    $("previous").addEventListener("click", () => step(-1));
    $("which").addEventListener("change", () => { selected = -1; clear(); show(); });
    $("scale").addEventListener("change", relayout);
    $("leads").addEventListener("change", relayout);
    $("help-button").addEventListener("click", () => $("help").showModal());
    document.addEventListener("click", (event) => {
      const target = event.target.closest("[data-time]");
      if (target) reveal(Number(target.dataset.time));
    });
    document.addEventListener("keydown", key);
    new ResizeObserver(() => { if (scroller.clientWidth !== listen.width) { listen.width = scroller.clientWidth; relayout(); } }).observe(scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); clear(); show(); });
  }
  function scrolled() {
    // the end of a part is in the middle of the next one's overlap: the same rows stay in view
    const bottom = scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 2;
    const next = bottom ? part + 1 : scroller.scrollTop <= 0 ? part - 1 : part;
    if (next !== part && next >= 0 && next < layout.nParts) {
      const top = scroller.scrollTop - (next - part) * layout.step * layout.pitch;
      setPart(next);
      scroller.scrollTop = top;
    }
    show();
  }
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.target.closest("input:not([type=range]), select, textarea")) return;
    const inside = event.target === scroller, screen = Math.max(1, Math.floor(scroller.clientHeight / layout.pitch)) * layout.pitch;
    const keys = { n: () => step(1), p: () => step(-1), "?": () => $("help").showModal() };
    if (inside) Object.assign(keys, {
      ArrowDown: () => { scroller.scrollTop += layout.pitch; }, ArrowUp: () => { scroller.scrollTop -= layout.pitch; },
      PageDown: () => { scroller.scrollTop += screen; }, PageUp: () => { scroller.scrollTop -= screen; },
      ArrowRight: () => goto(topTime() + 60, false), ArrowLeft: () => goto(topTime() - 60, false),
      Home: () => goto(0, false), End: () => goto(meta.duration, false),
    });
    if (!keys[event.key]) return;
    event.preventDefault();
    if (event.key === "n" || event.key === "p") {
      const box = scroller.getBoundingClientRect();
      if (box.bottom < 120 || box.top > innerHeight - 120) $("recording").scrollIntoView({ block: "start" });
    }
    keys[event.key]();
  }

  async function begin() {
    if (typeof DecompressionStream === "undefined") {
      $("status").textContent = "This browser is too old to unpack the recording (DecompressionStream is missing).";
      return;
    }
    for (const paper of document.querySelectorAll(".paper")) {
      paper.scrollLeft = paper.dataset.focus * paper.scrollWidth - paper.clientWidth / 2;
    }
    await readBeats();
    const option = (value, text) => new Option(text, value);
    $("which").append(option("all", "all abnormal"), ...meta.classes.map((c, k) => option(k, `${c.symbol} (${c.name})`)));
    $("leads").append(...(meta.leads.length > 1 ? [option("all", "all")] : []), ...meta.leads.map((name, k) => option(k, name)));
    position.max = Math.floor(meta.duration);
    readColours();
    measure();
    setPart(0);
    listen();
    show();
    document.documentElement.dataset.ready = "true";
  }
  begin();
})();
