"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { observers, subjects, stops, statuses, symbols } = data;
  const [slider, canvas, now, groups, cell, active, cursor, play] =
    ["slider", "matrix", "now", "groups", "cell", "active", "cursor", "play"].map((id) => document.getElementById(id));
  const width = subjects.length;
  const [DOWN, , STOPPED] = [0, 1, 2];
  const NAMES_SHOWN = 12;
  const end = Number(document.querySelector(".lanes").dataset.end);
  let table = new Uint8Array(observers.length * width);
  let states = new Uint8Array(observers.length);
  let shown = -1;
  let shape = { cell: 0, left: 0, top: 0 };

  function become(stop) {
    if (stop < shown) { table.fill(0); states.fill(DOWN); shown = -1; }
    while (shown < stop) {
      shown += 1;
      for (const change of data.cells[shown]) table[change >> 3] = change & 7;
      for (const change of data.rows[shown]) states[change >> 2] = change & 3;
    }
  }

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue("--" + name).trim();
    return {
      fill: statuses.map(of), ink: statuses.map((status) => of(status + "-ink")),
      down: of("down"), downInk: of("down-ink"), text: of("ink"), edge: of("edge"), paper: of("paper"),
    };
  }

  function draw() {
    const room = canvas.parentElement.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.font = "11px system-ui, sans-serif";
    const longest = observers.reduce((most, name) => Math.max(most, context.measureText(name).width), 0);
    let left = Math.min(130, longest + 30, room * 0.35);
    let size = Math.floor((room - left) / Math.max(1, width));
    if (size < 9) { left = 4; size = Math.floor((room - left) / Math.max(1, width)); }
    size = Math.max(2, Math.min(32, size));
    const top = size >= 9 ? 18 : 4;
    shape = { cell: size, left, top };
    const wide = left + size * width + 1, high = top + size * observers.length + 1;
    canvas.width = Math.ceil(wide * ratio);
    canvas.height = Math.ceil(high * ratio);
    canvas.style.width = wide + "px";
    canvas.style.height = high + "px";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const paint = colours();
    context.fillStyle = paint.paper;
    context.fillRect(0, 0, wide, high);
    context.textBaseline = "middle";
    if (size >= 9) heads(context, paint, left, top, size);
    for (let row = 0; row < observers.length; row += 1) {
      for (let column = 0; column < width; column += 1) square(context, paint, row, column);
    }
  }

  function heads(context, paint, left, top, size) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = paint.text;
    observers.forEach((name, row) => {
      const y = top + size * (row + 0.5);
      context.textAlign = "left";
      let text = (row + 1) + " " + name;
      while (text.length > 4 && context.measureText(text).width > left - 6) text = text.slice(0, -2) + "…";
      context.fillText(text, 0, y);
    });
    context.textAlign = "center";
    const every = size >= 16 || width < 10 ? 1 : 5;
    subjects.forEach((name, column) => {
      if (every === 1 || column === 0 || (column + 1) % every === 0) {
        context.fillText(String(column + 1), left + size * (column + 0.5), top / 2);
      }
    });
  }

  function square(context, paint, row, column) {
    const { cell: size, left, top } = shape;
    const x = left + size * column, y = top + size * row;
    const down = states[row] === DOWN, code = table[row * width + column];
    const gap = size >= 6 ? 1 : 0;
    context.fillStyle = down ? paint.down : paint.fill[code];
    context.fillRect(x + gap, y + gap, size - gap, size - gap);
    if (states[row] === STOPPED || (code === 2 && size < 11 && !down)) {
      context.strokeStyle = paint.text;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x + gap, y + size);
      context.lineTo(x + size, y + gap);
      context.stroke();
    }
    if (size >= 11) {
      context.font = "600 " + Math.min(13, size - 2) + "px ui-monospace, 'DejaVu Sans Mono', monospace";
      context.textAlign = "center";
      context.fillStyle = down ? paint.downInk : paint.ink[code];
      context.fillText(down ? "=" : symbols[code], x + size / 2 + gap / 2, y + size / 2 + 1);
    }
  }

  function listed(names) {
    const more = names.length - NAMES_SHOWN;
    return names.slice(0, NAMES_SHOWN).join(", ") + (more > 0 ? " and " + more + " more" : "");
  }

  function described(row) {
    const by = statuses.map(() => []);
    for (let column = 0; column < width; column += 1) by[table[row * width + column]].push(subjects[column]);
    const told = [by[1].length + " alive"];
    for (const code of [2, 3, 5, 4, 0]) {
      if (by[code].length) told.push((code ? statuses[code] : "unknown") + ": " + listed(by[code]));
    }
    return told.join("; ");
  }

  function tell() {
    const found = new Map();
    const out = [];
    observers.forEach((name, row) => {
      if (states[row] === DOWN) { out.push(name); return; }
      const key = states[row] + String.fromCharCode(...table.subarray(row * width, (row + 1) * width));
      if (!found.has(key)) found.set(key, { names: [], row, stopped: states[row] === STOPPED });
      found.get(key).names.push(name);
    });
    const ordered = [...found.values()].sort((one, other) => other.names.length - one.names.length);
    const items = ordered.slice(0, 20).map((group) => {
      const item = document.createElement("li");
      const who = document.createElement("strong");
      who.textContent = group.names.length + (group.stopped ? " (stopped): " : ": ") + listed(group.names);
      item.append(who, document.createElement("br"), described(group.row));
      return item;
    });
    if (ordered.length > 20) {
      const item = document.createElement("li");
      item.textContent = "and " + (ordered.length - 20) + " more groups";
      items.push(item);
    }
    groups.replaceChildren(...items);
    const at = stops[shown];
    const wrong = data.faults.filter(([began, ended]) => began <= at && (ended === null || at < ended));
    const told = wrong.length ? "Active faults: " + wrong.map((fault) => fault[2]).join("; ") + "." : "No fault is active.";
    active.textContent = told + (out.length ? " Not running: " + listed(out) + "." : "");
    const kinds = ordered.length + (ordered.length === 1 ? " group" : " groups");
    now.textContent = at.toFixed(2) + " s, " + kinds;
    slider.setAttribute("aria-valuetext", at.toFixed(2) + " seconds, " + kinds + ". " + told);
  }

  function show(stop) {
    if (!stops.length) return;
    become(Math.max(0, Math.min(stops.length - 1, stop)));
    slider.value = String(shown);
    draw();
    tell();
    cursor.style.left = (end ? 100 * stops[shown] / end : 0) + "%";
    cursor.classList.add("on");
  }

  function showAt(at) {
    let stop = 0;
    while (stop + 1 < stops.length && stops[stop + 1] <= at + 1e-6) stop += 1;
    show(stop);
  }

  let timer = 0;
  function halt() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }
  play.addEventListener("click", () => {
    if (timer) { halt(); return; }
    if (shown >= stops.length - 1) show(0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => { if (shown >= stops.length - 1) halt(); else show(shown + 1); }, 150);
  });
  slider.addEventListener("input", () => { halt(); show(Number(slider.value)); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".when");
    if (!button) return;
    halt();
    showAt(Number(button.dataset.at));
    document.getElementById("views").scrollIntoView();
    slider.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    const column = Math.floor((event.offsetX - shape.left) / shape.cell);
    const row = Math.floor((event.offsetY - shape.top) / shape.cell);
    if (row < 0 || row >= observers.length || column < 0 || column >= width) return;
    const code = table[row * width + column];
    const what = states[row] === DOWN ? "does not run" : code ? "sees " + subjects[column] + ": " + statuses[code]
      : "does not know " + subjects[column];
    cell.textContent = observers[row] + " " + what;
  });
  new ResizeObserver(() => { if (shown >= 0) draw(); }).observe(canvas.parentElement);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown >= 0) draw(); });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  const first = document.querySelector(".property.violated .when");
  const busiest = data.rows.length ? stops.length - 1 : 0;
  if (first) showAt(Number(first.dataset.at)); else show(busiest);
})();
