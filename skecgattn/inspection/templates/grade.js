"use strict";
(() => {
  const ANCHORS = [
    ["Not at all", "Misses the abnormal beats, marks at random, or marks nothing."],
    ["Poorly", "Marks few of the abnormal beats; most of the shading lies elsewhere."],
    ["In part", "Marks about half of the abnormal beats, or as much else as abnormal beats."],
    ["Well", "Marks nearly all abnormal beats, with little shading elsewhere."],
    ["Fully", "Marks every abnormal beat and nothing else."],
  ];
  const MARGIN = 12, RIGHT = 2; // mm of paper left and right of the traces
  const MIN_SCALE = 3, MAX_SCALE = 6; // px a mm
  const SVG = "http://www.w3.org/2000/svg";
  const study = JSON.parse(document.getElementById("study").textContent);
  const { strips } = study;
  const slot = `skecgattn-grades:${study.study}`;
  const $ = (id) => document.getElementById(id);

  // ---- answers, and where they are kept

  const blank = () => ({
    format: "skecgattn grades", version: 1, study: study.study, title: study.title, n_strips: strips.length,
    expert: "", session: token(), started: "", saved: "", finished: false, position: 0, grades: {},
  });
  let storage = true;
  let unsaved = false;
  let state = load() || blank();

  function token() {
    return Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  function load() {
    let text = null;
    try {
      text = localStorage.getItem(slot);
      localStorage.setItem(`${slot}:probe`, "1");
      localStorage.removeItem(`${slot}:probe`);
    } catch {
      storage = false;
    }
    return parse(text);
  }

  function parse(text) {
    try {
      const value = JSON.parse(text);
      return usable(value) ? value : null;
    } catch {
      return null;
    }
  }

  function usable(value) {
    return Boolean(value) && value.format === "skecgattn grades" && value.version === 1 &&
      value.study === study.study && typeof value.expert === "string" && typeof value.session === "string" &&
      typeof value.grades === "object" && value.grades !== null &&
      Object.entries(value.grades).every(([id, answer]) => strips.some((strip) => strip.id === id) && answer &&
        (answer.grade === null || [1, 2, 3, 4, 5].includes(answer.grade)));
  }

  function keep() {
    state.saved = new Date().toISOString();
    state.finished = count() === strips.length;
    try {
      localStorage.setItem(slot, JSON.stringify(state));
      storage = true;
      unsaved = false;
    } catch {
      storage = false;
      unsaved = true;
    }
    warnOfStorage();
  }

  function warnOfStorage() {
    if (!storage) {
      notice("This browser cannot keep your answers for this page. Export them before you close it.");
    }
  }

  function notice(text) {
    $("notice").textContent = text;
    $("notice").hidden = !text;
  }

  const answerOf = (strip) => state.grades[strip.id] || { grade: null, comment: "", at: "" };
  const count = () => strips.filter((strip) => answerOf(strip).grade !== null).length;
  const firstOpen = () => strips.findIndex((strip) => answerOf(strip).grade === null);

  function change(part) {
    const strip = strips[state.position];
    state.grades[strip.id] = { ...answerOf(strip), ...part, at: new Date().toISOString() };
    keep();
    showProgress();
    $("saved").textContent = storage ? "Saved in this browser" : "Not saved: export before closing";
  }

  // ---- views

  function show(view, focus = true) {
    for (const id of ["start", "grade", "finish"]) {
      $(id).hidden = id !== view;
    }
    $("to-start").hidden = view === "start";
    $("export").hidden = !state.started;
    ({ start: showStart, grade: showStrip, finish: showFinish })[view]();
    showProgress();
    if (focus) {
      $(view === "grade" ? "strip-title" : `${view}-title`).focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }

  function showProgress() {
    const n = count();
    $("progress").max = strips.length;
    $("progress").value = n;
    $("count").textContent = `${n} of ${strips.length} graded`;
  }

  function showStart() {
    const begun = Boolean(state.started);
    $("total").textContent = strips.length;
    $("expert").value = state.expert;
    $("begin-button").textContent = begun ? `Continue, ${count()} of ${strips.length} graded` : "Start";
    $("anew").hidden = !begun;
  }

  function showStrip() {
    const strip = strips[state.position];
    const answer = answerOf(strip);
    $("strip-title").textContent = `Strip ${state.position + 1} of ${strips.length}`;
    $("label").textContent = strip.label;
    for (const radio of document.querySelectorAll("#choices input")) {
      radio.checked = Number(radio.value) === answer.grade;
    }
    $("comment").value = answer.comment;
    $("saved").textContent = "";
    $("previous").disabled = state.position === 0;
    $("next").textContent = state.position === strips.length - 1 ? "Finish →" : "Next →";
    draw();
    $("strip").scrollLeft = 0;
  }

  function showFinish() {
    const open = strips.length - count();
    $("finish-title").textContent = open ? "Not finished yet" : "All strips are graded";
    $("finish-text").textContent = open
      ? `${open} of ${strips.length} strips ${open === 1 ? "has" : "have"} no grade.`
      : "Thank you. Export your grades and send the file back to whoever asked you.";
    $("first-open").hidden = !open;
    $("first-open").className = open ? "primary" : "";
    $("finish-export").className = open ? "" : "primary";
    $("exported").textContent = "";
  }

  function step(by) {
    const to = state.position + by;
    if (to < 0) {
      return;
    }
    if (to >= strips.length) {
      keep();
      show("finish");
      return;
    }
    state.position = to;
    keep();
    showStrip();
    $("live").textContent = `Strip ${to + 1} of ${strips.length}, ${strips[to].label}`;
  }

  // ---- the strip on ECG paper

  function element(name, attributes, parent) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) {
      node.setAttribute(key, value);
    }
    parent.append(node);
    return node;
  }

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  function draw() {
    const strip = strips[state.position];
    const ecg = study.ecgs[strip.ecg];
    const length = study.duration * study.speed;
    const needed = MARGIN + length + RIGHT;
    const box = $("strip");
    const ratio = devicePixelRatio || 1;
    // whole device pixels a mm keep the lines of the paper even
    const fits = Math.floor((box.clientWidth / needed) * ratio) / ratio;
    const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, fits));
    const width = Math.max(needed, box.clientWidth / scale);
    const svg = document.createElementNS(SVG, "svg");
    const size = { viewBox: `0 0 ${width} ${ecg.height}`, width: width * scale, height: ecg.height * scale };
    for (const [key, value] of Object.entries(size)) {
      svg.setAttribute(key, value);
    }
    const names = ecg.leads.map((lead) => lead.name).filter(Boolean).join(", ");
    const lasting = `${Number(study.duration.toFixed(1))} s`;
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `ECG of ${lasting}${names ? `, lead ${names}` : ""}, with shaded area`);

    const gradient = element("linearGradient", {
      id: "shade", gradientUnits: "userSpaceOnUse", x1: MARGIN, x2: MARGIN + length, y1: 0, y2: 0,
    }, element("defs", {}, svg));
    const shades = bytes(strip.map);
    const deepest = Number(getComputedStyle(document.documentElement).getPropertyValue("--deepest"));
    shades.forEach((shade, k) => element("stop", {
      class: "stop", offset: ((k + 0.5) / shades.length).toFixed(5),
      "stop-opacity": ((shade / 255) * deepest).toFixed(3),
    }, gradient));
    element("path", { class: "fine", d: lines(width, ecg.height, 1) }, svg);
    element("path", { class: "coarse", d: lines(width, ecg.height, 5) }, svg);
    element("rect", { x: MARGIN, y: 0, width: length, height: ecg.height, fill: "url(#shade)" }, svg);

    for (const lead of ecg.leads) {
      const counts = new Int16Array(bytes(lead.trace).buffer);
      const across = study.speed / ecg.rate;
      const up = ecg.unit * study.gain;
      const points = Array.from(counts, (value, k) =>
        `${(MARGIN + k * across).toFixed(2)} ${(lead.baseline - value * up).toFixed(2)}`);
      const pulse = `M2 ${lead.baseline}h1v${-study.gain}h5v${study.gain}h1`;
      element("path", { class: "trace", d: pulse }, svg);
      element("path", { class: "trace", d: `M${points.join("L")}` }, svg);
      element("text", { class: "lead-name", x: 2, y: lead.baseline - study.gain - 1.2 }, svg).textContent = lead.name;
    }
    box.replaceChildren(svg);
    const wider = box.scrollWidth > box.clientWidth;
    box.tabIndex = wider ? 0 : -1;
    $("more").hidden = !wider;
    $("scale").textContent = `${study.speed} mm/s, ${study.gain} mm/mV, ${lasting}`;
  }

  function lines(width, height, step) {
    let path = "";
    for (let x = 0; x <= width; x += step) {
      path += `M${x} 0V${height}`;
    }
    for (let y = 0; y <= height; y += step) {
      path += `M0 ${y}H${width}`;
    }
    return path;
  }

  // ---- export and import

  function exportAnswers() {
    keep();
    const expert = state.expert.trim().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "expert";
    const name = `grades-${study.study}-${expert}.json`;
    const { position, ...answers } = state;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(answers, null, 1)], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    const n = count();
    const text = `${name} is in your downloads, with ${n} of ${strips.length} grades.`;
    $("saved").textContent = text;
    $("exported").textContent = text;
    if (!$("start").hidden) {
      notice(text);
    }
  }

  async function importAnswers(file) {
    let value = null;
    try {
      value = JSON.parse(await file.text());
    } catch {
      notice(`${file.name} is not a file that this page has exported.`);
      return;
    }
    if (!usable(value)) {
      notice(value && value.format === state.format && value.study !== study.study
        ? `${file.name} is of another study.`
        : `${file.name} is not a file that this page has exported.`);
      return;
    }
    if (state.started && state.session !== value.session) {
      notice(`${file.name} holds answers of ${value.expert}, this browser has others, of ${state.expert}. ` +
        "Start over first.");
      return;
    }
    const merged = { ...value.grades };
    for (const [id, answer] of Object.entries(state.grades)) {
      if (!merged[id] || (answer.at || "") >= (merged[id].at || "")) {
        merged[id] = answer;
      }
    }
    state = { ...blank(), ...value, grades: merged };
    state.position = Math.max(0, firstOpen());
    notice("");
    keep();
    show("start", false);
    $("live").textContent = `${count()} grades of ${state.expert} are loaded.`;
  }

  // ---- buttons and keys

  ANCHORS.forEach(([word, text], k) => {
    const choice = document.createElement("label");
    choice.className = "choice";
    choice.innerHTML = '<input type="radio" name="grade"><span class="number"></span>' +
      '<span class="word"></span><span class="anchor"></span>';
    choice.querySelector("input").value = k + 1;
    choice.querySelector(".number").textContent = k + 1;
    choice.querySelector(".word").textContent = word;
    choice.querySelector(".anchor").textContent = text;
    $("choices").append(choice);

    const term = document.createElement("dt");
    term.innerHTML = "<b></b><span></span>";
    term.firstChild.textContent = k + 1;
    term.lastChild.textContent = word;
    const meaning = document.createElement("dd");
    meaning.textContent = text;
    $("anchors").append(term, meaning);
  });

  $("choices").addEventListener("change", (event) => change({ grade: Number(event.target.value) }));
  $("comment").addEventListener("input", () => change({ comment: $("comment").value }));
  $("answer").addEventListener("submit", (event) => event.preventDefault());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("export").addEventListener("click", exportAnswers);
  $("finish-export").addEventListener("click", exportAnswers);
  $("to-start").addEventListener("click", () => show("start"));
  $("back").addEventListener("click", () => show("grade"));
  $("first-open").addEventListener("click", () => {
    state.position = firstOpen();
    keep();
    show("grade");
  });
  $("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    const expert = $("expert").value.trim();
    if (!expert) {
      $("expert").value = "";
      $("expert").reportValidity();
      return;
    }
    state.expert = expert;
    state.started ||= new Date().toISOString();
    notice("");
    keep();
    show(state.finished ? "finish" : "grade");
  });
  $("import").addEventListener("change", async () => {
    const [file] = $("import").files;
    if (file) {
      await importAnswers(file);
      $("import").value = "";
    }
  });
  $("anew").addEventListener("click", () => $("ask").showModal());
  $("ask").addEventListener("close", () => {
    if ($("ask").returnValue === "delete") {
      state = blank();
      keep();
      show("start");
      $("expert").focus();
    }
    $("ask").returnValue = "";
  });

  document.addEventListener("keydown", (event) => {
    if ($("grade").hidden || $("ask").open || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const { target } = event;
    if (target === $("comment")) {
      if (event.key === "Escape") {
        $("strip-title").focus({ preventScroll: true });
      }
      return;
    }
    const scrolls = target === $("strip") && target.scrollWidth > target.clientWidth;
    if (/^[1-5]$/.test(event.key)) {
      document.querySelector(`#choices input[value="${event.key}"]`).checked = true;
      change({ grade: Number(event.key) });
      $("live").textContent = `Grade ${event.key}, ${ANCHORS[event.key - 1][0]}`;
    } else if (event.key === "ArrowLeft" && !scrolls) {
      step(-1);
    } else if (event.key === "ArrowRight" && !scrolls) {
      step(1);
    } else if (event.key === "Enter" && target.tagName !== "BUTTON") {
      step(1);
    } else if (event.key.toLowerCase() === "c") {
      $("comment").focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  addEventListener("storage", (event) => {
    // the same study in another tab
    const other = event.key === slot ? parse(event.newValue) : null;
    if (other) {
      state = { ...other, position: state.position };
      show(["start", "grade", "finish"].find((id) => !$(id).hidden), false);
    }
  });
  addEventListener("beforeunload", (event) => {
    if (unsaved) {
      event.preventDefault();
    }
  });
  let drawn = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(drawn);
    drawn = requestAnimationFrame(() => $("grade").hidden || draw());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => $("grade").hidden || draw());

  warnOfStorage();
  show("start", false);
})();
