/* The table of tracks: sorted by a column, a piece at a time. */

const PIECE = 200;

const COLUMNS = [
  {key: "id", title: "track", number: true},
  {key: "views", title: "best views"},
  {key: "name", title: "name"},
  {key: "text", title: "description"},
  {key: "first", title: "from", number: true},
  {key: "last", title: "to", number: true},
  {key: "frames", title: "frames", number: true},
  {key: "gaps", title: "gaps", number: true},
  {key: "score", title: "mean score", number: true},
];

function compareTracks(sort) {
  return (a, b) => {
    const x = a[sort.key], y = b[sort.key];
    // tracks without a name or a description come last either way
    if (typeof x === "string" && !x !== !y) return x ? -1 : 1;
    const order = typeof x === "string" ? x.localeCompare(y, "en", {numeric: true}) : x - y;
    return (sort.down ? -order : order) || a.id - b.id;
  };
}

/* The tracks as a table for other programs, one a line, times in seconds. */
function tracksCsv(tracks) {
  const quoted = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const described = tracks.some((track) => track.text);
  const row = (track) => [
    track.id, track.name, track.name_score ?? "", track.parts[0][0], track.parts.at(-1)[1], track.first, track.last,
    track.frames, track.gaps, track.score, ...described ? [track.text] : [],
  ].map((value) => quoted(String(value))).join(",");
  const head = "track_id,name,name_score,from,to,first_frame,last_frame,frames,gaps,mean_score" +
    (described ? ",description" : "");
  return [head, ...tracks.map(row)].join("\n") + "\n";
}

/* What a vision-language model said about a view, and what that took. */
function saidOf(view) {
  const kept = view.kept_tokens === view.image_tokens ? "" : `, ${view.kept_tokens} left`;
  const took = `${view.tokens} tokens of ${view.image_tokens} image tokens${kept}, ${view.seconds.toFixed(1)} s`;
  return el("p", {}, view.text, el("small", {className: "quiet"}, ` ${took}`));
}

class Table {
  constructor(table, more, shown, actions) {
    this.table = table;
    this.more = more;
    this.actions = actions;
    this.rows = new Map();
    this.columns = COLUMNS.filter((column) => shown[column.key] ?? true);
    table.tHead.rows[0].replaceChildren(...this.columns.map((column) => this.heading(column)));
    more.querySelector("button").addEventListener("click", () => this.showMore());
  }

  heading(column) {
    const cell = el("th", {scope: "col", className: column.number ? "number" : ""});
    cell.dataset.key = column.key;
    if (column.key === "views") cell.textContent = column.title;
    else {
      const button = el("button", {type: "button"}, column.title);
      button.addEventListener("click", () => this.actions.sort(column.key));
      cell.append(button);
    }
    return cell;
  }

  show(tracks, sort) {
    this.tracks = tracks;
    for (const cell of this.table.tHead.rows[0].cells) {
      if (cell.dataset.key === sort.key) cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    const empty = el("tr", {}, el("td", {colSpan: this.columns.length, className: "quiet"}, this.actions.empty()));
    this.table.tBodies[0].replaceChildren(...tracks.length ? [] : [empty]);
    this.count = 0;
    this.showMore();
  }

  showMore() {
    const next = this.tracks.slice(this.count, this.count + PIECE);
    this.table.tBodies[0].append(...next.map((track) => this.row(track)));
    this.count += next.length;
    this.actions.more(next);
    this.more.hidden = this.count >= this.tracks.length;
    this.actions.mark();
  }

  row(track) {
    if (this.rows.has(track.id)) return this.rows.get(track.id);
    const row = el("tr", {}, ...this.columns.map((column) => this.cell(track, column)));
    row.dataset.track = track.id;
    this.rows.set(track.id, row);
    return row;
  }

  cell(track, column) {
    const cell = el("td", {className: column.number ? "number" : ""});
    if (column.key === "id") {
      const about = {type: "button", title: "choose this track and go to its birth"};
      const button = el("button", about, el("span", {className: "swatch"}), String(track.id));
      button.firstChild.style.background = track.color;
      button.addEventListener("click", () => this.actions.choose(track.id, track.parts[0][0]));
      cell.append(button);
    } else if (column.key === "views") {
      cell.append(el("div", {className: "views"}, ...track.views.map((view) => this.view(track, view))));
    } else if (column.key === "name") {
      const sure = track.name && track.name_score !== null;
      cell.textContent = track.name + (sure ? " " + percent(track.name_score) : "");
    } else if (column.key === "text") {
      cell.className = "said";
      cell.append(...(track.said ?? []).map(saidOf));
    } else if (column.key === "first" || column.key === "last") {
      cell.textContent = seconds(column.key === "first" ? track.parts[0][0] : track.parts.at(-1)[1]);
    } else {
      cell.textContent = column.key === "score" ? track.score.toFixed(2) : track[column.key];
    }
    return cell;
  }

  view(track, view) {
    const told = `track ${track.id} at ${seconds(view.time)}`;
    const button = el("button", {type: "button", title: told},
      el("img", {src: jpeg(view.jpeg), alt: told, loading: "lazy", width: view.width, height: view.height}));
    button.addEventListener("click", () => this.actions.choose(track.id, view.time, true));
    return button;
  }

  mark(chosen) {
    for (const [id, row] of this.rows) row.classList.toggle("chosen", chosen.has(id));
  }
}
