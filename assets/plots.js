// Products of a job, drawn: curves with errors and images, from <figure class="plot" data-plot="where the numbers are">. The same numbers stand in a table.
import uPlot from "uplot";

const colours = ["#0b7f8f", "#b25e09", "#7a4fb5", "#2f6fd0", "#1f8a55", "#b3261e"];
// Viridis, at even steps (S. van der Walt and N. Smith, CC0).
const map = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const height = 330;
const ink = () => getComputedStyle(document.body).color;
const named = (one) => one.label + (one.unit ? ` (${one.unit})` : "");
const short = (value) => value == null || Number.isNaN(value) ? "–" : Number(value.toPrecision(6)).toString();

// Small and large ones as powers: in digits they would all be 0, or too long.
const digits = new Intl.NumberFormat(document.documentElement.lang || undefined, { maximumFractionDigits: 6 });
const marked = (value) => value == null ? "" : value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7) ? Number(value.toPrecision(6)).toExponential() : digits.format(value);

function axis(one, size) { return { stroke: ink, label: named(one), values: (_, splits) => splits.map(marked), labelSize: 22, size, grid: { stroke: "rgb(128 128 128 / 20%)", width: 1 }, ticks: { stroke: "rgb(128 128 128 / 40%)" } }; }

// The part of an axis that is looked at; null is all of it.
function bounds(plot, name) { const { min, max } = plot.scales[name]; return [min, max]; }
function scaled(plot, name, factor, shift) {
  const isLog = plot.scales[name].distr === 3;
  let [min, max] = bounds(plot, name);
  if (min == null) return;
  if (isLog) [min, max] = [Math.log10(min), Math.log10(max)];
  const [middle, half] = [(min + max) / 2 + shift * (max - min), (max - min) / 2 * factor];
  const [low, high] = [middle - half, middle + half];
  plot.setScale(name, isLog ? { min: 10 ** low, max: 10 ** high } : { min: low, max: high });
}

class Figure {
  constructor(figure) {
    this.figure = figure;
    this.box = figure.querySelector(".field");
    this.said = figure.querySelector("output");
    this.plots = [];
  }
  button(name) { return this.figure.querySelector(`[data-does="${name}"]`); }
  is(name) { return this.button(name)?.getAttribute("aria-pressed") === "true"; }
  press(name, value) { this.button(name)?.setAttribute("aria-pressed", String(value)); }
  async load() {
    let told;
    try {
      const answer = await fetch(this.figure.dataset.plot, { headers: { Accept: "application/json" } });
      told = answer.ok ? (await answer.json()).plots : [];
    } catch { told = []; }
    if (!this.figure.isConnected) return;
    if (!told.length) { this.fail(); return; }
    this.told = told;
    const curve = told.find((one) => one.kind === "curve");
    if (curve) {
      this.press("log-x", curve.is_log_x);
      this.press("log-y", curve.is_log_y);
      if (!curve.series.some((one) => one.errors)) this.button("errors")?.remove();
    }
    for (const button of this.figure.querySelectorAll("button")) button.disabled = false;
    this.draw();
    new ResizeObserver(() => this.fit()).observe(this.box);
  }
  fail() { this.box.hidden = true; this.figure.querySelector(".toolbar").hidden = true; this.figure.querySelector("figcaption").hidden = true; this.figure.querySelector(".colours")?.setAttribute("hidden", ""); this.figure.querySelector(".empty").hidden = false; }
  draw() {
    for (const plot of this.plots) plot.destroy();
    this.box.textContent = "";
    this.drawnAt = this.box.clientWidth;
    this.plots = this.told.map((one) => one.kind === "image" ? this.image(one) : this.curve(one));
  }
  fit() {
    if (!this.box.clientWidth || Math.abs(this.drawnAt - this.box.clientWidth) <= 1) return;
    if (this.told.some((one) => one.kind === "image")) this.draw();
    else for (const plot of this.plots) plot.setSize({ width: this.box.clientWidth, height: plot.height });
    this.drawnAt = this.box.clientWidth;
  }
  tell(text) { this.said.textContent = text; }

  curve(one) {
    const [isLogX, isLogY] = [this.is("log-x"), this.is("log-y")];
    // A logarithm has no place for what is not above 0.
    const fitting = (values, isLog) => values.map((value) => isLog && !(value > 0) ? null : value);
    const order = one.x.values.map((value, index) => [value, index]).filter(([value]) => value != null && (!isLogX || value > 0)).sort((a, b) => a[0] - b[0]).map(([, index]) => index);
    const sorted = (values) => order.map((index) => values[index]);
    const data = [sorted(one.x.values), ...one.series.map((single) => fitting(sorted(single.values), isLogY))];
    const errors = one.series.map((single) => single.errors && sorted(single.errors));
    const widths = one.x.widths && sorted(one.x.widths);
    const scales = { x: { time: false, distr: isLogX ? 3 : 1 }, y: { distr: isLogY ? 3 : 1, dir: one.is_upside_down ? -1 : 1 } };
    if (!isLogY) scales.y.range = (plot, min, max) => this.range(plot, min, max, data, errors);
    return new uPlot({
      width: this.box.clientWidth, height, scales,
      cursor: { drag: { x: true, y: true, uni: 12 } }, legend: { live: false },
      series: [{}, ...one.series.map((single, index) => ({ label: named(single), stroke: colours[index % colours.length], width: 1.5, paths: single.is_line ? undefined : () => null, points: { show: !single.is_line || data[0].length < 3, size: 4, fill: colours[index % colours.length] } }))],
      axes: [axis(one.x, 44), axis(one.series[0], 66)],
      hooks: {
        draw: [(plot) => this.bars(plot, data, errors, widths)],
        setCursor: [(plot) => { const at = plot.cursor.idx; this.tell(at == null ? "" : [`${one.x.label} ${short(data[0][at])}`, ...one.series.map((single, index) => `${single.label} ${short(data[index + 1][at])}${errors[index] ? ` ± ${short(errors[index][at])}` : ""}`)].join(", ")); }],
      },
    }, data, this.box);
  }
  // All of what is seen, with its errors, where they are shown.
  range(plot, min, max, data, errors) {
    if (min == null) return [0, 1];
    const [first, last] = plot.series[0].idxs;
    if (this.is("errors")) errors.forEach((one, series) => {
      for (let at = first; one && at <= last; at++) {
        const value = data[series + 1][at];
        if (value != null && one[at] != null) { min = Math.min(min, value - one[at]); max = Math.max(max, value + one[at]); }
      }
    });
    const margin = (max - min || Math.abs(max) || 1) * 0.05;
    return [min - margin, max + margin];
  }
  bars(plot, data, errors, widths) {
    if (!this.is("errors")) return;
    const { ctx, bbox } = plot;
    const { min: least } = plot.scales.y;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    errors.forEach((one, series) => {
      if (!one) return;
      ctx.strokeStyle = colours[series % colours.length]; ctx.globalAlpha = 0.6; ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      data[0].forEach((x, at) => {
        const [value, error] = [data[series + 1][at], one[at]];
        if (value == null) return;
        const [across, up] = [plot.valToPos(x, "x", true), plot.valToPos(value, "y", true)];
        if (error > 0) {
          const low = plot.scales.y.distr === 3 && value - error <= 0 ? least : value - error;
          ctx.moveTo(across, plot.valToPos(low, "y", true)); ctx.lineTo(across, plot.valToPos(value + error, "y", true));
        }
        if (widths?.[at] > 0 && !(plot.scales.x.distr === 3 && x - widths[at] <= 0)) { ctx.moveTo(plot.valToPos(x - widths[at], "x", true), up); ctx.lineTo(plot.valToPos(x + widths[at], "x", true), up); }
      });
      ctx.stroke();
    });
    ctx.restore();
  }

  image(one) {
    const bytes = Uint8Array.from(atob(one.pixels), (letter) => letter.charCodeAt(0));
    const values = new Float32Array(bytes.buffer);
    const canvas = this.painted(one, values);
    const ends = (side, count) => [side.first, side.first + side.step * count].sort((a, b) => a - b);
    const [xs, ys] = [ends(one.x, one.width), ends(one.y, one.height)];
    // Pixels are square where there is room: the frame takes about 90 by 70.
    const most = Math.min(this.box.clientWidth - 90, (this.box.clientHeight - 70) * one.width / one.height);
    const plot = new uPlot({
      width: Math.round(most) + 90, height: Math.round(Math.max(120, most * one.height / one.width)) + 70,
      scales: { x: { time: false, dir: one.x.step < 0 ? -1 : 1, range: (drawn, min, max) => [Math.max(min, xs[0]), Math.min(max, xs[1])] }, y: { dir: one.y.step < 0 ? -1 : 1, range: () => ys } },
      cursor: { drag: { x: true, y: true }, points: { show: false } }, legend: { show: false },
      series: [{}, { points: { show: false }, paths: () => null }],
      axes: [axis(one.x, 44), axis(one.y, 66)].map((made) => ({ ...made, grid: { show: false } })),
      hooks: {
        drawClear: [(drawn) => {
          const { ctx, bbox } = drawn;
          const place = (value, name) => drawn.valToPos(value, name, true);
          const [left, right] = [place(one.x.first, "x"), place(one.x.first + one.x.step * one.width, "x")];
          const [bottom, top] = [place(one.y.first, "y"), place(one.y.first + one.y.step * one.height, "y")];
          ctx.save();
          ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
          ctx.imageSmoothingEnabled = false;
          ctx.drawImage(canvas, left, top, right - left, bottom - top);
          ctx.restore();
        }],
        setCursor: [(drawn) => {
          const { left, top } = drawn.cursor;
          if (left < 0) { this.tell(""); return; }
          const [x, y] = [drawn.posToVal(left, "x"), drawn.posToVal(top, "y")];
          const [column, row] = [Math.floor((x - one.x.first) / one.x.step), Math.floor((y - one.y.first) / one.y.step)];
          const isInside = column >= 0 && row >= 0 && column < one.width && row < one.height;
          this.tell(isInside ? `${one.x.label} ${short(x)}, ${one.y.label} ${short(y)}: ${short(values[row * one.width + column])} ${one.unit}` : "");
        }],
      },
    }, [xs, ys], this.box);
    return plot;
  }
  painted(one, values) {
    const isLog = this.is("log");
    const floor = one.low > 0 ? one.low : one.high / 1e4;
    const [low, high] = isLog ? [Math.log(floor), Math.log(Math.max(one.high, floor * 1.01))] : [one.low, one.high];
    const canvas = document.createElement("canvas");
    canvas.width = one.width; canvas.height = one.height;
    const made = new ImageData(one.width, one.height);
    for (let row = 0; row < one.height; row++) for (let column = 0; column < one.width; column++) {
      // Rows come from the bottom; a canvas begins at the top.
      const value = values[row * one.width + column];
      const at = ((one.height - 1 - row) * one.width + column) * 4;
      if (!Number.isFinite(value)) continue;
      const level = isLog ? (value > 0 ? Math.log(value) : low) : value;
      coloured(made.data, at, (level - low) / (high - low));
    }
    canvas.getContext("2d").putImageData(made, 0, 0);
    this.bar(one, isLog ? floor : one.low);
    return canvas;
  }
  bar(one, low) {
    const [first, canvas, last] = this.figure.querySelector(".colours")?.children ?? [];
    if (!canvas) return;
    const made = new ImageData(256, 10);
    for (let at = 0; at < 2560; at++) coloured(made.data, at * 4, (at % 256) / 255);
    canvas.getContext("2d").putImageData(made, 0, 0);
    first.textContent = short(low); last.textContent = `${short(one.high)} ${one.unit}`;
  }

  does(what) {
    switch (what) {
      case "closer": this.move(0.5, 0, 0); break;
      case "farther": this.move(2, 0, 0); break;
      case "whole": this.draw(); break;
      default: this.press(what, !this.is(what)); this.draw();
    }
  }
  move(factor, right, up) {
    for (const plot of this.plots) plot.batch(() => {
      scaled(plot, "x", factor, right * (plot.scales.x.dir ?? 1));
      scaled(plot, "y", factor, up * (plot.scales.y.dir ?? 1));
    });
  }
}
function coloured(data, at, share) {
  const place = Math.min(1, Math.max(0, share)) * (map.length - 1);
  const [index, part] = [Math.min(map.length - 2, Math.floor(place)), place - Math.min(map.length - 2, Math.floor(place))];
  for (let channel = 0; channel < 3; channel++) data[at + channel] = map[index][channel] + part * (map[index + 1][channel] - map[index][channel]);
  data[at + 3] = 255;
}

const figures = new Map();
const keys = { ArrowLeft: [1, -0.2, 0], ArrowRight: [1, 0.2, 0], ArrowUp: [1, 0, 0.2], ArrowDown: [1, 0, -0.2], "+": [0.5, 0, 0], "-": [2, 0, 0] };
// What is far below is fetched when it comes near.
const near = new IntersectionObserver((seen) => { for (const one of seen) if (one.isIntersecting) { near.unobserve(one.target); const made = new Figure(one.target); figures.set(one.target, made); made.load(); } }, { rootMargin: "300px" });
function ready() {
  for (const figure of figures.keys()) if (!figure.isConnected || !figure.querySelector(".uplot")) figures.delete(figure);
  for (const figure of document.querySelectorAll(".plot[data-plot]")) if (!figures.has(figure)) near.observe(figure);
}
ready();
document.addEventListener("htmx:after:swap", ready);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-does]");
  if (button) figures.get(button.closest(".plot"))?.does(button.dataset.does);
});
document.addEventListener("keydown", (event) => {
  const found = event.target.matches?.(".plot .field") && !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
  if (!found) return;
  event.preventDefault();
  figures.get(event.target.closest(".plot"))?.move(...found);
});
// Other colours of the page: text on the axes follows.
new MutationObserver(() => { for (const one of figures.values()) for (const plot of one.plots) plot.redraw(); }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
