/* The parts that don't move: counts, settings, versions, scores and failures. */

function showCounts(data) {
  const lengths = data.tracks.map((track) => track.frames), total = lengths.reduce((sum, length) => sum + length, 0);
  const named = data.tracks.filter((track) => track.name).length;
  const tiles = [
    ["frames", data.frames.toLocaleString("en")],
    ["tracks", data.tracks.length.toLocaleString("en")],
    ["boxes", data.boxes.toLocaleString("en")],
    ["most at once", data.most],
    ["mean frames", lengths.length ? (total / lengths.length).toFixed(1) : "–"],
    ["gaps", data.tracks.reduce((sum, track) => sum + track.gaps, 0).toLocaleString("en")],
  ];
  if (named) tiles.push(["named tracks", named.toLocaleString("en")]);
  const tile = ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)));
  byId("counts").append(...tiles.map(tile));
  byId("made").textContent = `${seconds(data.times[0])} to ${seconds(data.end)}, ` +
    `${Number(data.fps.toFixed(2))} frames per second; made ${data.made}`;
}

function showNotes(data) {
  const thinned = byId("thinned"), lost = byId("without-views");
  thinned.hidden = data.stride === 1;
  thinned.textContent = `To keep this page small it shows ${data.times.length} of ${data.frames} frames, ` +
    `one in ${data.stride}. Tracks, counts and scores are of all frames.`;
  lost.hidden = data.without_views === 0;
  lost.textContent = "To keep this page small, the tracks seen least have no pictures, or only later ones.";
}

function showPairs(table, pairs) {
  table.append(el("tbody", {}, ...pairs.map(([name, value]) =>
    el("tr", {}, el("th", {scope: "row"}, name), el("td", {}, value)))));
}

function showScores(scores) {
  byId("scores").hidden = scores === null;
  if (scores === null) return;
  const how = scores.matched_by === "name" ? "by file name" : "by place in the video";
  byId("scores-about").textContent = `Video ${scores.video} of ${scores.file}: ${scores.images} of its ${scores.of} ` +
    `images are among the frames (found ${how}). ` + (scores.why ? `Not scored: ${scores.why}.` :
    "Only these count, with the tracks of this page; tracks below its score threshold are not in it.");
  if (scores.why) return;
  const columns = ["OWTA", "D.Re", "A.Acc"];
  const head = ["subset", "tracks", ...columns].map((name) => el("th", {scope: "col"}, name));
  const rows = scores.table.map((row) => el("tr", {},
    el("th", {scope: "row"}, row.subset), el("td", {}, String(row.tracks)),
    ...columns.map((name) => el("td", {}, row.tracks ? row[name].toFixed(2) : "–"))));
  byId("owta").append(el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  const missed = (track) => `missed in ${track.missed} of ${count(track.frames, "frame")}`;
  const switched = (track) => `${count(track.switches, "switch", "switches")} in ${count(track.frames, "frame")}`;
  byId("failures").append(
    ...cases("Most missed objects", scores.missed, missed),
    ...cases("Most switched objects", scores.switched, switched));
}

function cases(title, tracks, told) {
  const explained = "White and black: the object's true box. Coloured: tracks. Matched from IoU 0.5 on.";
  const none = el("p", {className: "quiet"}, "None.");
  const cards = el("div", {className: "cases"}, ...tracks.map((track) => oneCase(track, told(track))));
  return [el("h3", {}, title), ...tracks.length ? [el("p", {className: "quiet"}, explained), cards] : [none]];
}

function oneCase(track, told) {
  const name = `object ${track.id}` + (track.name ? ` (${track.name})` : "");
  const pictures = track.pictures.map((picture) => {
    const text = seconds(picture.time) + (picture.held_by < 0 ? ": missed" : `: track ${picture.held_by}`);
    const size = {width: picture.width, height: picture.height, loading: "lazy"};
    return el("figure", {},
      el("img", {src: jpeg(picture.jpeg), alt: `${name} at ${text}`, ...size}), el("figcaption", {}, text));
  });
  const without = el("p", {className: "quiet"}, "No picture of it was kept.");
  return el("div", {className: "case"}, pictures.length ? el("div", {className: "pair"}, ...pictures) : without,
    el("p", {}, name + ": " + told));
}
