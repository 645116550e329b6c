// Curves over time: <div class="chart" data-chart='{"times": [...], "series": [{"label", "values"}]}'></div>. The numbers stand in a table, too.
import uPlot from "uplot";

const colours = ["#0b7f8f", "#b25e09", "#7a4fb5", "#2f6fd0", "#1f8a55", "#b3261e", "#7d6a10"];
function draw(box) {
  const data = JSON.parse(box.dataset.chart);
  const text = getComputedStyle(document.body).color;
  const axis = { stroke: text, grid: { stroke: "rgb(128 128 128 / 20%)", width: 1 } };
  // Days and hours as the language of the page writes them.
  const [day, hour, whole] = [{ day: "numeric", month: "short" }, { hour: "numeric", minute: "2-digit" }, { dateStyle: "medium", timeStyle: "short" }]
    .map((form) => new Intl.DateTimeFormat(document.documentElement.lang, form));
  const written = (splits) => splits.map((at) => { const when = new Date(at * 1000); return (when.getHours() || when.getMinutes() ? hour : day).format(when); });
  const plot = new uPlot(
    { width: box.clientWidth, height: 220, cursor: { y: false }, series: [{ label: box.dataset.time ?? "", value: (_, at) => (at == null ? "–" : whole.format(new Date(at * 1000))) }, ...data.series.map((one, index) => ({ label: one.label, stroke: colours[index % 7], width: 1.5, points: { show: data.times.length < 3 } }))], axes: [{ ...axis, space: 70, values: (_, splits) => written(splits) }, { ...axis, size: 56 }] },
    [data.times, ...data.series.map((one) => one.values)], box,
  );
  // A window that was made narrower must not be wider than itself.
  new ResizeObserver(() => { if (box.clientWidth && Math.abs(plot.width - box.clientWidth) > 1) plot.setSize({ width: box.clientWidth, height: 220 }); }).observe(box);
}
function ready() { document.querySelectorAll(".chart[data-chart]:empty").forEach(draw); }
ready();
document.addEventListener("htmx:after:swap", ready);
