"use strict";
// The map of reviews. Users' words enter the page as text nodes only.
{
  const data = JSON.parse(document.querySelector("#map script").textContent);
  const COUNT = data.texts.length;
  const PAGE = 50;
  const RADIUS = COUNT > 3000 ? 2.2 : COUNT > 600 ? 3.2 : 4.5;
  const REACH = 14; // pixels within which a point is meant

  const [canvas, tip, legend, filters, found] = ["canvas", ".tip", ".legend", ".filters", ".found"].map((name) => document.querySelector(`#map ${name}`));
  const [head, body, pages] = ["#reviews thead", "#reviews tbody", "#reviews .pages"].map((name) => document.querySelector(name));
  const context = canvas.getContext("2d");
  const layer = document.createElement("canvas");
  const numbers = new Intl.NumberFormat("en");

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }
  const text = (value) => element("bdi", { dir: "auto" }, value);
  const beginning = (value, most) => (value.length > most ? `${value.slice(0, most)} …` : value);
  const valueOf = (field, at) => (field.of[at] < 0 ? "none" : field.values[field.of[at]]);
  const colourOf = (field, value) => {
    if (value < 0 || field.rest === value) return data.grey;
    if (!field.ordered) return data.colours[value % data.colours.length];
    const last = Math.max(1, field.values.length - 1);
    return data.ramp[Math.round((value / last) * (data.ramp.length - 1))];
  };

  // What is shown: the field that colours, the values that are switched off, the search.
  let field = data.fields[0];
  let off = new Set();
  let shown = new Uint8Array(COUNT).fill(1);
  let current = -1;
  const searched = data.texts.map((each, at) => `${each}\n${data.ids[at]}`.toLocaleLowerCase());

  // Where a point is on the screen: a scale and a shift, which zooming and dragging change.
  let view = { scale: 1, x: 0, y: 0 };
  let [width, height] = [0, 0];
  const [screenX, screenY] = [new Float32Array(COUNT), new Float32Array(COUNT)];
  const spread = (values) => {
    let [least, most] = [Infinity, -Infinity];
    for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
    return { middle: (least + most) / 2, size: most - least || 1 };
  };
  const [across, down] = [spread(data.x), spread(data.y)];
  function place() {
    const fit = Math.min((width - 40) / across.size, (height - 40) / down.size) * view.scale;
    for (let at = 0; at < COUNT; at += 1) {
      screenX[at] = width / 2 + view.x + (data.x[at] - across.middle) * fit;
      screenY[at] = height / 2 + view.y - (data.y[at] - down.middle) * fit;
    }
  }

  const SHAPES = [
    (draw, x, y, r) => draw.arc(x, y, r, 0, 7),
    (draw, x, y, r) => draw.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8),
    (draw, x, y, r) => { draw.moveTo(x, y - r * 1.2); draw.lineTo(x + r * 1.1, y + r * 0.9); draw.lineTo(x - r * 1.1, y + r * 0.9); draw.closePath(); },
    (draw, x, y, r) => { draw.moveTo(x, y - r * 1.3); draw.lineTo(x + r * 1.3, y); draw.lineTo(x, y + r * 1.3); draw.lineTo(x - r * 1.3, y); draw.closePath(); },
  ];
  const shapeOf = (value) => SHAPES[Math.max(0, value) % SHAPES.length];
  // All points, on a canvas of their own: it is drawn when they change, not when the pointer moves.
  function drawPoints() {
    place();
    const ratio = canvas.width / width;
    [layer.width, layer.height] = [canvas.width, canvas.height];
    const draw = layer.getContext("2d");
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const visible of [0, 1]) {
      draw.globalAlpha = visible ? 0.8 : 0.12;
      for (let value = -1; value < field.values.length; value += 1) {
        draw.fillStyle = colourOf(field, value);
        draw.beginPath();
        const shape = shapeOf(value);
        for (let at = 0; at < COUNT; at += 1) {
          if (field.of[at] !== value || shown[at] !== visible) continue;
          const [x, y] = [screenX[at], screenY[at]];
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          draw.moveTo(x + RADIUS, y);
          shape(draw, x, y, RADIUS);
        }
        draw.fill();
      }
    }
    drawMark();
  }
  function drawMark() {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(layer, 0, 0);
    if (current < 0) return;
    const ratio = canvas.width / width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.strokeStyle = getComputedStyle(document.body).color;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(screenX[current], screenY[current], RADIUS + 4, 0, 7);
    context.stroke();
  }
  function resize() {
    const ratio = window.devicePixelRatio || 1;
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    drawPoints();
    if (current >= 0) point(current);
  }

  // The review of a point.
  function point(at) {
    current = at;
    tip.hidden = at < 0;
    if (at >= 0) {
      const about = element("dl");
      for (const each of data.fields) about.append(element("dt", {}, each.name), element("dd", {}, text(valueOf(each, at))));
      about.append(element("dt", {}, "review id"), element("dd", {}, text(data.ids[at])));
      tip.replaceChildren(element("p", { dir: "auto" }, beginning(data.texts[at], 600)), about);
      const right = screenX[at] > width / 2;
      const low = screenY[at] > height / 2;
      const bounded = (value, most) => Math.min(Math.max(value, 0), most);
      tip.style.left = right ? "auto" : `${bounded(screenX[at] + 14, width - 60)}px`;
      tip.style.right = right ? `${bounded(width - screenX[at] + 14, width - 60)}px` : "auto";
      tip.style.top = low ? "auto" : `${bounded(screenY[at], height - 60)}px`;
      tip.style.bottom = low ? `${bounded(height - screenY[at], height - 60)}px` : "auto";
    }
    drawMark();
  }
  function nearest(x, y) {
    let [best, least] = [-1, REACH * REACH];
    for (let at = 0; at < COUNT; at += 1) {
      const gap = (screenX[at] - x) ** 2 + (screenY[at] - y) ** 2;
      if (shown[at] && gap < least) [best, least] = [at, gap];
    }
    return best;
  }
  // The next point in a direction: near, and more ahead than aside.
  function next(dx, dy) {
    const start = current < 0 || !shown[current] ? null : [screenX[current], screenY[current]];
    const [x, y] = start ?? [width / 2, height / 2];
    let [best, least] = [-1, Infinity];
    for (let at = 0; at < COUNT; at += 1) {
      if (!shown[at] || at === current) continue;
      const ahead = (screenX[at] - x) * dx + (screenY[at] - y) * dy;
      const aside = Math.abs((screenX[at] - x) * dy - (screenY[at] - y) * dx);
      if (start && (ahead <= 0 || aside > ahead)) continue;
      const gap = Math.hypot(ahead, aside);
      if (gap < least) [best, least] = [at, gap];
    }
    return best;
  }
  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.min(Math.max(view.scale * factor, 0.5), 200);
    const by = scale / view.scale;
    const move = (shift, at, middle) => at - middle - (at - middle - shift) * by;
    view = { scale, x: move(view.x, x, width / 2), y: move(view.y, y, height / 2) };
    drawPoints();
    if (current >= 0) point(current);
  }
  function whole() {
    view = { scale: 1, x: 0, y: 0 };
    drawPoints();
    if (current >= 0) point(current);
  }
  // A point that the keyboard or the table chose has to be on the screen.
  function goTo(at) {
    const outside = screenX[at] < 10 || screenY[at] < 10 || screenX[at] > width - 10 || screenY[at] > height - 10;
    if (outside) {
      view.x += width / 2 - screenX[at];
      view.y += height / 2 - screenY[at];
      drawPoints();
    }
    point(at);
  }

  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => {
    dragged = { x: event.clientX, y: event.clientY, view: { ...view } };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointercancel", () => { dragged = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged !== null) {
      view = { ...view, x: dragged.view.x + event.clientX - dragged.x, y: dragged.view.y + event.clientY - dragged.y };
      drawPoints();
      if (current >= 0) point(current);
      return;
    }
    const at = nearest(event.offsetX, event.offsetY);
    if (at >= 0 && at !== current) point(at);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls past the map
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const others = { Escape: () => point(-1), "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: whole };
    if (event.key in steps) {
      const at = next(...steps[event.key]);
      if (at >= 0) goTo(at);
    } else if (Object.hasOwn(others, event.key)) {
      others[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });

  // Controls.
  const search = element("input", { type: "search", placeholder: "words of a review, or its id", autocomplete: "off", oninput: () => choose() });
  filters.append(element("label", { class: "text" }, "Text", search));
  const colour = element("select", { onchange: () => { field = data.fields[colour.value]; off = new Set(); showLegend(); choose(); } });
  data.fields.forEach((each, at) => colour.append(element("option", { value: at }, each.name)));
  filters.append(element("label", {}, "Colour by", colour));
  for (const [name, act] of [["Zoom in", () => zoom(1.25)], ["Zoom out", () => zoom(0.8)], ["Show all", whole]]) {
    filters.append(element("button", { type: "button", onclick: act }, name));
  }
  filters.addEventListener("submit", (event) => event.preventDefault());

  function swatch(value) {
    const drawn = element("canvas", { width: 32, height: 32, class: "swatch", "aria-hidden": "true" });
    const draw = drawn.getContext("2d");
    draw.fillStyle = colourOf(field, value);
    draw.beginPath();
    shapeOf(value)(draw, 16, 16, 11);
    draw.fill();
    return drawn;
  }
  function showLegend() {
    const counts = new Map();
    for (const value of field.of) counts.set(value, (counts.get(value) ?? 0) + 1);
    const values = [...field.values.keys(), -1].filter((value) => counts.has(value));
    legend.replaceChildren(...values.map((value) => {
      const name = value < 0 ? "none" : field.values[value];
      const button = element("button", { type: "button", "aria-pressed": "true" }, swatch(value), text(`${name} (${numbers.format(counts.get(value))})`));
      button.addEventListener("click", () => {
        if (!off.delete(value)) off.add(value);
        button.setAttribute("aria-pressed", String(!off.has(value)));
        choose();
      });
      return element("li", {}, button);
    }));
  }

  // The table.
  head.append(element("tr", {}, ...["Show", "Review", ...data.fields.map((each) => each.name)].map((name) => element("th", { scope: "col" }, name))));
  const before = element("button", { type: "button", onclick: () => showPage(page - 1) }, "Previous");
  const after = element("button", { type: "button", onclick: () => showPage(page + 1) }, "Next");
  const where = element("span");
  pages.append(before, where, after);
  let [kept, page] = [[], 0];
  function row(at) {
    const open = element("button", { type: "button", class: "open", "aria-label": `Show review ${at + 1} on the map` }, "◎");
    open.addEventListener("click", () => {
      goTo(at);
      canvas.focus();
      canvas.scrollIntoView({ block: "center" });
    });
    const whole = data.texts[at];
    const review = element("div", { dir: "auto" }, beginning(whole, 300));
    if (whole.length > 300) review.append(element("details", {}, element("summary", {}, "whole review"), element("div", { class: "review" }, whole)));
    return element("tr", {}, element("td", {}, open), element("td", {}, review), ...data.fields.map((each) => element("td", {}, text(valueOf(each, at)))));
  }
  function showPage(wanted) {
    const count = Math.max(1, Math.ceil(kept.length / PAGE));
    page = Math.min(Math.max(wanted, 0), count - 1);
    body.replaceChildren(...kept.slice(page * PAGE, (page + 1) * PAGE).map(row));
    where.textContent = `Page ${page + 1} of ${count}`;
    before.disabled = page === 0;
    after.disabled = page === count - 1;
    pages.hidden = count === 1;
  }
  function choose() {
    const wanted = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    kept = [];
    for (let at = 0; at < COUNT; at += 1) {
      const passes = !off.has(field.of[at]) && wanted.every((word) => searched[at].includes(word));
      shown[at] = Number(passes);
      if (passes) kept.push(at);
    }
    const total = numbers.format(COUNT);
    found.textContent = kept.length === COUNT ? `${total} reviews` : `${numbers.format(kept.length)} of ${total} reviews`;
    if (current >= 0 && !shown[current]) point(-1);
    showPage(0);
    if (width) drawPoints();
  }

  showLegend();
  choose();
  new ResizeObserver(resize).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMark);
  const wide = document.querySelector("#reviews .wide");
  wide.setAttribute("role", "group");
  wide.setAttribute("aria-label", "Reviews of the map");
  new ResizeObserver(() => {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    else wide.removeAttribute("tabindex");
  }).observe(wide);
}
