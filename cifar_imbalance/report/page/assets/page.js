"use strict";
(() => {
  const parts = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const charts = [];
  const blue = ["#dbe8fb", "#8fb8f2", "#3f7fdc", "#12408f"];
  const blueInTheDark = ["#16304f", "#2b5c9e", "#5b9bf0", "#d3e5ff"];

  // Okabe and Ito's colours, as in the plots; black, which is lost in the dark, is grey
  const colours = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8d98b3", "#b8a800"];

  // ------------------------------------------------------------------ names, which may be long
  const SHARE = 4; // names on an axis have a quarter of a chart, so that it keeps its room; tooltips have them whole
  const FONT = "sans-serif"; // of ECharts' texts

  const cut = (name, room, size) => echarts.format.truncateText(String(name), room, `${size}px ${FONT}`, "…");
  const lines = (line) => (line.match(/.{1,44}(?:\s+|$)|\S{44}/gu) || [""]).join("\n");
  const wrapped = (text) => text.split("\n").map(lines).join("\n"); // a drawn tooltip does not break its lines itself

  function fitNames(chart) {
    const option = chart.getOption();
    const fitted = (name, room) => (option[name] || []).map((axis) => (axis.type !== "category"
      ? { nameTruncate: { maxWidth: 0.7 * (name === "xAxis" ? chart.getWidth() : chart.getHeight()), ellipsis: "…" } }
      : {
        axisLabel: { formatter: (label) => cut(label, room, axis.axisLabel.fontSize) },
        tooltip: { show: true, formatter: ({ name: whole, value }) => wrapped(String(value ?? whole)) },
      }));
    const entries = Math.min(new Set(option.series.map((series) => series.name)).size, SHARE - 1);
    const legend = (option.legend || []).map(() => ({
      formatter: (label) => cut(label, 0.7 * chart.getWidth() / entries, 12),
      tooltip: { show: true, formatter: ({ name }) => wrapped(name) },
    }));
    const [x, y] = [chart.getHeight() / SHARE, chart.getWidth() / SHARE]; // names across stand upright
    chart.setOption({ xAxis: fitted("xAxis", x), yAxis: fitted("yAxis", y), ...(legend.length && { legend }) });
  }

  // ------------------------------------------------------------------ texts of tooltips and of the panel
  const count = (part, t, p) => (part.cells.find((cell) => cell[0] === t && cell[1] === p) || [0, 0, 0])[2];
  // names may be digits, so each number says what it counts
  const pairInWords = (part, t, p) =>
    `true ${part.names[t]}, predicted ${part.names[p]}: ${count(part, t, p)} of ${part.support[t]} images`;

  const texts = {
    pair: (option, part) => ({ value: [p, t] }) => pairInWords(part, t, p),
    point: (option) => (p) =>
      [p.name || p.seriesName, `${option.xAxis.name}: ${p.value[0]}`, `${option.yAxis.name}: ${p.value[1]}`].join("\n"),
    interval: () => (p) => `${p.name}: ${p.value[0]}\n95 %: ${p.value[2]} to ${p.value[3]}`,
    bar: () => (p) => `${p.name}: ${p.value}`,
    by_epoch: (option) => (p) =>
      `${option.yAxis.data[p.value[1]]}, epoch ${option.xAxis.data[p.value[0]]}\n${p.seriesName}: ${p.value[2]}`,
  };

  function confusionOption(part) {
    const share = ([t, p, n]) => [p, t, Math.round((1000 * n) / part.support[t]) / 1000, n];
    const axis = { type: "category", data: part.names, axisTick: { show: false } };
    const zoom = { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, moveOnMouseMove: true };
    return {
      grid: { containLabel: true, left: 4, right: 12, top: 8, bottom: 80 },
      xAxis: { ...axis, axisLabel: { rotate: 90, fontSize: 10 } },
      yAxis: { ...axis, inverse: true, axisLabel: { fontSize: 10 } },
      dataZoom: [{ ...zoom, xAxisIndex: 0 }, { ...zoom, yAxisIndex: 0 }],
      visualMap: { dimension: 2, min: 0, max: 1, orient: "horizontal", left: "center", bottom: 0, calculable: true, precision: 2 },
      tooltip: { renderMode: "richText", confine: true, text: "pair" },
      series: [{ type: "heatmap", data: part.cells.map(share), progressive: 0 }],
    };
  }

  // ------------------------------------------------------------------ the panel beside the confusions
  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text; // never as HTML
    if (className) made.className = className;
    return made;
  }

  function tiles(part, key) {
    const places = part.places[key] || [];
    const box = element("div", undefined, "tiles");
    const { address, tile: size, across } = part.sprite;
    const side = Math.max(size, 40);
    for (const place of places) {
      const tile = element("div", undefined, "tile");
      const factor = side / size;
      tile.style.width = tile.style.height = `${side}px`;
      tile.style.backgroundImage = `url(${address})`;
      tile.style.backgroundSize = `${across * side}px auto`;
      tile.style.backgroundPosition = `-${(place % across) * size * factor}px -${Math.floor(place / across) * size * factor}px`;
      box.append(tile);
    }
    return box;
  }

  function showPair(id, true_, predicted) {
    const part = parts[id];
    const panel = document.getElementById(`${id}-panel`);
    const shown = [element("h3", pairInWords(part, true_, true_))];
    const taken = part.cells.filter((cell) => cell[0] === true_ && cell[1] !== true_).sort((a, b) => b[2] - a[2]);
    const list = taken.slice(0, 6).map((cell) => `${part.names[cell[1]]}\u00a0(${cell[2]})`).join(", ");
    shown.push(element("p", `most often taken for: ${list || "nothing else"}`));
    if (true_ !== predicted) {
      for (const [t, p] of [[true_, predicted], [predicted, true_]]) {
        shown.push(element("h3", pairInWords(part, t, p)));
        if (part.places[`${t},${p}`]) shown.push(tiles(part, `${t},${p}`));
      }
    } else {
      for (const cell of taken.slice(0, 4)) {
        if (!part.places[`${true_},${cell[1]}`]) continue;
        shown.push(element("h3", pairInWords(part, true_, cell[1])), tiles(part, `${true_},${cell[1]}`));
      }
    }
    panel.replaceChildren(...shown);
  }

  const confusions = Object.keys(parts).find((id) => parts[id].kind === "confusions");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.pair");
    if (!button || !confusions) return;
    const [true_, predicted] = button.dataset.pair.split(",").map(Number);
    showPair(confusions, true_, predicted);
    document.getElementById(`${confusions}-panel`).scrollIntoView({ block: "nearest" });
  });

  // ------------------------------------------------------------------ charts, made anew when the theme changes
  const whole = (chart) => ({ labelRect: { x, width } }) => // a label of a point is left out or legible
    ({ hideOverlap: true, dx: Math.max(0, 4 - x) + Math.min(0, chart.getWidth() - 4 - x - width) });

  function prepared(part, dark, chart) {
    const option = part.kind === "confusions" ? confusionOption(part) : structuredClone(part.option);
    option.backgroundColor = "transparent";
    option.animation = false;
    option.color = colours;
    if (option.tooltip.text) {
      const text = texts[option.tooltip.text](option, part);
      option.tooltip.formatter = (p) => wrapped(text(p));
    }
    if (option.visualMap) option.visualMap.inRange = { color: dark ? blueInTheDark : blue };
    const paper = getComputedStyle(root).getPropertyValue("--paper");
    for (const series of option.series.filter((one) => one.label)) {
      series.labelLayout = whole(chart);
      Object.assign(series.label, { textBorderColor: paper, textBorderWidth: 3 }); // legible on a line
    }
    if (option.coloured_by_name) {
      const names = [...new Set(option.series.map((series) => series.name))];
      option.series.forEach((series) => { series.color = colours[names.indexOf(series.name) % colours.length]; });
    }
    return option;
  }

  function draw() {
    const dark = root.classList.contains("dark");
    charts.splice(0).forEach((chart) => chart.dispose());
    for (const [id, part] of Object.entries(parts)) {
      const chart = echarts.init(document.getElementById(id), dark ? "dark" : null);
      chart.setOption(prepared(part, dark, chart));
      fitNames(chart);
      if (part.kind === "confusions") chart.on("click", ({ value }) => showPair(id, value[1], value[0]));
      charts.push(chart);
    }
  }

  root.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
  document.getElementById("theme").addEventListener("click", () => { root.classList.toggle("dark"); draw(); });
  addEventListener("resize", () => charts.forEach((chart) => { chart.resize(); fitNames(chart); }));
  for (const table of document.querySelectorAll("table")) {
    const many = table.rows.length > 201, search = table.rows.length > 11 ? "search" : null;
    new DataTable(table, { paging: many, pageLength: 100, order: [], info: many, autoWidth: false, layout: { topStart: null, topEnd: search } });
  }
  const worst = document.querySelector("button.pair"); // of the most confused pairs, which come before the classes
  if (worst && confusions) showPair(confusions, ...worst.dataset.pair.split(",").map(Number));
  draw();
})();
