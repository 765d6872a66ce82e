/* Wires the parts together. The state: what the filters leave, in which order, and which tracks are chosen. */

const data = JSON.parse(byId("data").textContent);
data.tracks = Array.from(document.querySelectorAll("script.track"), (element) => JSON.parse(element.textContent));
for (const track of data.tracks) track.text = (track.said ?? []).map((said) => said.text).join(" / ");
const view = {
  tracks: new Map(data.tracks.map((track) => [track.id, track])),
  shown: new Set(), chosen: new Set(), boxes: true, labels: true,
};
const sort = {key: "first", down: false};
let current = null;

const player = new Player(data.times, data.end, data.size, onFrame, showPlaying);
const timeline = new Timeline(byId("timeline"), data.times[0], data.end, {seek, choose});
const table = new Table(byId("tracks"), byId("more"), {
  name: data.tracks.some((track) => track.name), text: data.tracks.some((track) => track.said),
}, {
  choose, mark, sort: sortBy, more: (tracks) => timeline.add(tracks),
  empty: () => data.tracks.length ? "No track passes the filters." : "No object was tracked.",
});

function onFrame(index, frame, size, video) {
  current = {frame, size, video};
  const boxes = frame.boxes.filter((box) => view.shown.has(box[0])).length;
  byId("scrub").value = index;
  byId("counter").textContent = `frame ${index + 1} of ${data.times.length}`;
  byId("place").textContent = `${seconds(frame.time)} · ${frame.name} · ${count(boxes, "track")}`;
  const told = `${seconds(frame.time)}, ${count(boxes, "track")}`;
  byId("scrub").setAttribute("aria-valuetext", told);
  byId("canvas").setAttribute("aria-label", `frame ${frame.name}: ${told}`);
  timeline.move(frame.time);
  redraw();
}

function redraw() {
  if (current) drawFrame(byId("canvas"), current, view);
}

function seek(time) {
  player.seek(time);
}

/* Choose a track alone, or let it go if it was chosen; ``keep`` leaves it chosen. */
function choose(id, time, keep = false) {
  const only = view.chosen.size === 1 && view.chosen.has(id);
  view.chosen.clear();
  if (keep || !only) {
    view.chosen.add(id);
    if (time !== undefined) seek(time);
  }
  mark();
  redraw();
}

function mark() {
  timeline.mark(view.chosen);
  table.mark(view.chosen);
}

function sortBy(key) {
  sort.down = sort.key === key ? !sort.down : ["frames", "gaps", "score"].includes(key);
  sort.key = key;
  update();
}

function update() {
  const text = byId("text").value.trim().toLowerCase();
  const frames = Number(byId("least-frames").value), score = Number(byId("least-score").value);
  const tracks = data.tracks.filter((track) => track.frames >= frames && track.score >= score &&
    (text === String(track.id) || text === "" || `${track.name}\n${track.text}`.toLowerCase().includes(text)));
  tracks.sort(compareTracks(sort));
  view.shown = new Set(tracks.map((track) => track.id));
  for (const id of view.chosen) if (!view.shown.has(id)) view.chosen.delete(id);
  byId("shown").textContent = `${tracks.length} of ${data.tracks.length}`;
  timeline.clear();
  table.show(tracks, sort);
  redraw();
}

function showPlaying() {
  byId("play").textContent = player.playing ? "Pause" : "Play";
}

function toggle() {
  if (player.playing) player.pause();
  else player.play();
  showPlaying();
}

function listen() {
  byId("play").addEventListener("click", toggle);
  byId("back").addEventListener("click", () => player.step(-1));
  byId("forward").addEventListener("click", () => player.step(1));
  byId("scrub").addEventListener("input", (event) => { seek(data.times[event.target.value]); });
  byId("speed").addEventListener("change", (event) => { player.speed = Number(event.target.value); });
  byId("loop").addEventListener("change", (event) => { player.loop = event.target.checked; });
  for (const name of ["boxes", "labels"]) {
    byId(name).addEventListener("change", (event) => { view[name] = event.target.checked; redraw(); });
  }
  for (const id of ["text", "least-frames", "least-score"]) byId(id).addEventListener("input", update);
  byId("csv").addEventListener("click", () => download(data.title + ".csv", tracksCsv(table.tracks), "text/csv"));
  byId("clear").addEventListener("click", () => {
    byId("text").value = "";
    byId("least-frames").value = "1";
    byId("least-score").value = "0";
    view.chosen.clear();
    update();
  });
  byId("canvas").addEventListener("click", (event) => {
    const id = current && trackAt(byId("canvas"), current, event, view);
    if (id !== null) choose(id);
  });
  window.addEventListener("resize", redraw);
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, button")) return;
    if (event.key === " ") toggle();
    else if (event.key === "ArrowLeft") player.step(-1);
    else if (event.key === "ArrowRight") player.step(1);
    else return;
    event.preventDefault();
  });
}

byId("scrub").max = data.times.length - 1;
showCounts(data);
showNotes(data);
showPairs(byId("settings"), data.settings);
showPairs(byId("versions"), Object.entries(data.versions));
showScores(data.scores);
listen();
update();
player.show(0);
