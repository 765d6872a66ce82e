/* One row per track: its birth, gaps and death. A click on a row goes to that moment. As many rows as the table. */

class Timeline {
  constructor(root, start, end, actions) {
    this.root = root;
    this.start = start;
    this.span = Math.max(1e-6, end - start);
    this.actions = actions;
    this.rows = new Map();
    this.now = el("div", {className: "now"});
    const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, seconds(start + part * this.span)));
    this.axis = el("div", {className: "axis"}, el("div", {className: "who"}), el("div", {className: "bar"}, ...marks));
    this.axis.lastChild.addEventListener("click", (event) => actions.seek(this.timeAt(event)));
  }

  timeAt(event) {
    const place = event.currentTarget.getBoundingClientRect();
    return this.start + Math.max(0, Math.min(1, (event.clientX - place.left) / place.width)) * this.span;
  }

  /* Rows are made once and only moved afterwards. */
  row(track) {
    if (this.rows.has(track.id)) return this.rows.get(track.id);
    const x = (time) => ((time - this.start) / this.span * 1000).toFixed(2);
    const parts = track.parts, last = parts[parts.length - 1];
    const bars = parts.map(([from, to]) => `M${x(from)} 5H${Math.max(x(to), Number(x(from)) + 1.5)}V15H${x(from)}Z`);
    const whole = `M${x(parts[0][0])} 9.4H${x(last[1])}V10.6H${x(parts[0][0])}Z`;
    const edge = {stroke: "rgba(0,0,0,.35)", "vector-effect": "non-scaling-stroke"};
    const drawing = svg("svg", {viewBox: "0 0 1000 20", preserveAspectRatio: "none", "aria-hidden": "true"},
      svg("path", {d: whole, fill: "currentColor", opacity: "0.35"}),
      svg("path", {d: bars.join(""), fill: track.color, ...edge}));
    const name = track.id + (track.name ? " " + track.name : "");
    const told = `track ${name}: ${seconds(parts[0][0])} to ${seconds(last[1])}, ${count(track.gaps, "gap")}`;
    const about = {type: "button", title: told, "aria-label": told};
    const button = el("button", about, el("span", {className: "swatch"}), name);
    button.firstChild.style.background = track.color;
    button.addEventListener("click", () => this.actions.choose(track.id, parts[0][0]));
    const bar = el("div", {className: "bar", title: told}, drawing);
    bar.addEventListener("click", (event) => this.actions.choose(track.id, this.timeAt(event), true));
    const row = el("div", {className: "life"}, el("div", {className: "who"}, button), bar);
    row.dataset.track = track.id;
    this.rows.set(track.id, row);
    return row;
  }

  clear() {
    this.root.replaceChildren(this.axis, this.now);
    this.root.hidden = true;
  }

  /* More tracks, below those shown. */
  add(tracks) {
    this.root.hidden = this.root.hidden && tracks.length === 0;
    this.now.before(...tracks.map((track) => this.row(track)));
    this.now.style.height = "0";
    this.now.style.height = this.root.scrollHeight + "px";
  }

  mark(chosen) {
    for (const [id, row] of this.rows) {
      row.classList.toggle("chosen", chosen.has(id));
      row.classList.toggle("dim", chosen.size > 0 && !chosen.has(id));
      row.querySelector("button").setAttribute("aria-pressed", chosen.has(id));
    }
  }

  move(time) {
    const part = Math.max(0, Math.min(1, (time - this.start) / this.span)), who = this.axis.firstChild.offsetWidth;
    this.now.style.left = `calc(${who}px + (100% - ${who}px) * ${part})`;
  }
}
