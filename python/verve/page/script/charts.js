// A chart of closed windows with its figures in a table: a screen reader cannot read a canvas.

class History {
  constructor(id, span, name) {
    this.span = span;
    this.name = name;
    this.items = [];
    this.plot = null;
    const section = byId(id);
    this.place = make("div", { name: "plot", tabindex: "0", role: "img" });
    this.readout = make("p", { name: "readout quiet", "aria-live": "polite" });
    this.details = make("details", {}, make("summary", { text: "Figures as a table" }));
    this.scroll = scrolling(`Figures of the ${name}`);
    this.scroll.classList.add("history");
    this.details.append(this.scroll);
    const key = (kind, text) => make("li", { name: kind, text });
    section.append(
      make("ul", { name: "key" }, key("ids", "Distinct ids"), key("requests", "Requests"),
        key("revised", "Revised"), key("marked", "Degraded or with a gap")),
      this.place, this.readout, this.details,
    );
    this.details.addEventListener("toggle", () => this.fillTable());
    this.place.addEventListener("keydown", (event) => this.step(event));
    this.read(null);
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  show(items, now) {
    this.items = items;
    this.now = now;
    // A short history has the whole width.
    const first = Math.min(items[0]?.start ?? now, now - 20 * windowSeconds);
    this.from = Math.max(now - this.span, first);
    this.draw();
    this.fillTable();
    const most = items.reduce((found, item) => Math.max(found, item.unique), 0);
    this.place.setAttribute("aria-label", `Distinct ids and requests of each window of the `
      + `${this.name}: ${figure(items.length)} windows, at most ${figure(most)} distinct ids. `
      + "The table below has the figures. Arrow keys read single windows.");
  }

  fillTable() {
    if (!this.details.open) return;
    this.scroll.replaceChildren(table(`Figures of the ${this.name}`, WINDOW_COLUMNS,
      this.items.toReversed().map(windowRow)));
  }

  // A window that is missing interrupts the lines.
  data() {
    const [times, ids, requests, known] = [[], [], [], []];
    let expected = null;
    for (const item of this.items) {
      if (expected !== null && item.start > expected) {
        times.push(expected);
        ids.push(null);
        requests.push(null);
        known.push(null);
      }
      times.push(item.start);
      ids.push(item.unique);
      requests.push(item.requests);
      known.push(item);
      expected = item.start + item.window_seconds;
    }
    this.known = known;
    return [times, ids, requests];
  }

  draw() {
    const data = this.data();
    if (this.plot) {
      this.plot.setData(data);
      return;
    }
    const width = this.place.clientWidth;
    if (!width) return;
    this.plot = new uPlot(this.options(width, this.place.clientHeight), data, this.place);
    this.plot.root.setAttribute("aria-hidden", "true");
  }

  resize() {
    if (!this.plot) this.draw();
    else if (this.place.clientWidth) {
      this.plot.setSize({ width: this.place.clientWidth, height: this.place.clientHeight });
    }
  }

  // New colours need a new chart.
  recolour() {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }

  options(width, height) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--quiet"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
    };
    const compact = new Intl.NumberFormat(undefined, { notation: "compact" });
    return {
      width, height, legend: { show: false }, padding: [8, 22, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { range: () => [this.from, this.now] },
        y: { range: (_plot, _low, high) => [0, Math.max(high ?? 0, 4) * 1.08] },
      },
      axes: [
        {
          ...axis, space: 64, size: 32,
          values: (_plot, times) => {
            const clock = this.now - this.from < 600 ? localSeconds : localClock;
            return times.map((time) => clock.format(time * 1000));
          },
        },
        { ...axis, size: 56, incrs: [1, 2, 5, 10, 20, 50, 1e2, 2e2, 5e2, 1e3, 2e3, 5e3, 1e4, 2e4,
          5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 1e9],
        values: (_plot, values) => values.map((value) => compact.format(value)) },
      ],
      series: [
        {},
        { label: "Distinct ids", stroke: colour("--ids"), fill: colour("--ids-area"), width: 2,
          points: { show: this.items.length < 3, size: 7, fill: colour("--ids") } },
        { label: "Requests", stroke: colour("--requests"), width: 1.5, dash: [5, 3],
          points: { show: false } },
      ],
      hooks: {
        draw: [(plot) => this.mark(plot, colour("--ids"), colour("--bad"))],
        setCursor: [(plot) => this.read(plot.cursor.idx)],
      },
    };
  }

  // Shape and place tell the marks apart, for readers who see no colours.
  mark(plot, revised, bad) {
    const { ctx } = plot;
    const unit = devicePixelRatio;
    ctx.save();
    this.known.forEach((item, place) => {
      if (!item || item.start < this.from) return;
      const x = plot.valToPos(plot.data[0][place], "x", true);
      if (item.revision > 1) {
        const y = plot.valToPos(item.unique, "y", true);
        ctx.strokeStyle = revised;
        ctx.lineWidth = 2 * unit;
        ctx.beginPath();
        for (const [dx, dy] of [[0, -5], [5, 0], [0, 5], [-5, 0]]) {
          ctx.lineTo(x + dx * unit, y + dy * unit);
        }
        ctx.closePath();
        ctx.stroke();
      }
      if (item.degraded || item.gap) {
        const y = plot.bbox.top + plot.bbox.height;
        ctx.fillStyle = bad;
        ctx.beginPath();
        for (const [dx, dy] of [[0, -11], [6, -1], [-6, -1]]) {
          ctx.lineTo(x + dx * unit, y + dy * unit);
        }
        ctx.fill();
      }
    });
    ctx.restore();
  }

  read(place) {
    const item = place === null || place === undefined ? null : this.known[place];
    this.readout.textContent = item
      ? `${bothTimes(new Date(item.start * 1000))}: ${figure(item.unique)} distinct ids, `
        + `${figure(item.requests)} requests${notes(item) ? `; ${notes(item)}` : ""}`
      : "Point at the chart, or use the arrow keys, to read a window.";
  }

  step(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || !this.plot || !this.known.length) return;
    event.preventDefault();
    const from = this.plot.cursor.idx ?? (way < 0 ? this.known.length : -1);
    let place = from + way;
    while (place > 0 && place < this.known.length - 1 && !this.known[place]) place += way;
    place = Math.max(0, Math.min(this.known.length - 1, place));
    const [times, ids] = this.plot.data;
    this.plot.setCursor({
      left: this.plot.valToPos(times[place], "x"), top: this.plot.valToPos(ids[place] ?? 0, "y"),
    });
    this.read(place);
  }
}
