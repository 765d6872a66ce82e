/* A frame and its boxes on the canvas, as sharp as the screen allows. */

const DARK = "#101010";

function fitCanvas(canvas, size) {
  const room = canvas.parentElement.clientWidth, tall = Math.max(240, window.innerHeight * 0.62);
  const zoom = Math.min(room / size[0], tall / size[1]);
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(size[0] * zoom)), height = Math.max(1, Math.round(size[1] * zoom));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  const pixels = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  // setting a side clears the canvas, so that it would flicker
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  return canvas.width / size[0];
}

function drawFrame(canvas, {frame, size, video}, view) {
  const zoom = fitCanvas(canvas, size), context = canvas.getContext("2d");
  context.fillStyle = DARK;
  if (video) context.drawImage(video, 0, 0, canvas.width, canvas.height);
  else context.fillRect(0, 0, canvas.width, canvas.height);
  if (!view.boxes) return;
  const line = Math.max(1.5, Math.min(canvas.width, canvas.height) / 260), labels = [];
  for (const box of frame.boxes) {
    const track = view.tracks.get(box[0]);
    if (!view.shown.has(track.id)) continue;
    const dim = view.chosen.size > 0 && !view.chosen.has(track.id);
    context.globalAlpha = dim ? 0.3 : 1;
    const [x, y, right, bottom] = box.slice(1, 5).map((value) => value * zoom);
    context.lineWidth = line + 2;
    context.strokeStyle = DARK;
    context.strokeRect(x, y, right - x, bottom - y);
    context.lineWidth = view.chosen.has(track.id) ? 2 * line : line;
    context.strokeStyle = track.color;
    context.strokeRect(x, y, right - x, bottom - y);
    if (view.labels && !dim) labels.push({track, score: box[5], box: [x, y, right, bottom]});
  }
  context.globalAlpha = 1;
  view.plates = [];
  // the surest come last and choose their place first
  for (const label of labels.reverse()) drawLabel(context, label, line, view.plates);
}

/* A name with its own probability, then the score of the box. */
function labelText(track, score) {
  const sure = track.name && track.name_score !== null ? " " + percent(track.name_score) : "";
  return [track.id, track.name + sure, score.toFixed(2)].filter((part) => part !== "").join(" ");
}

function drawLabel(context, {track, score, box}, line, plates) {
  const text = labelText(track, score), size = Math.max(11, 6 * line + 3);
  context.font = "600 " + size + "px system-ui, sans-serif";
  const plate = freePlace(context, context.measureText(text).width + 8, size + 6, box, plates);
  plates.push(plate);
  context.fillStyle = track.color;
  context.fillRect(...plate);
  context.fillStyle = isBright(track.color) ? DARK : "#ffffff";
  context.textBaseline = "middle";
  context.fillText(text, plate[0] + 4, plate[1] + plate[3] / 2);
}

/* [left, top, width, height] beside a box, off the labels that are there already as far as that can be. */
function freePlace(context, width, height, [x, y, right, bottom], plates) {
  const inside = (value, most) => Math.max(0, Math.min(value, most));
  const place = (left, top) =>
    [inside(left, context.canvas.width - width), inside(top, context.canvas.height - height), width, height];
  const places = [
    place(x, y - height), place(right - width, y - height), place(x, bottom), place(right - width, bottom),
    place(x, y), place(right, y), place(x - width, y), place(right, bottom - height), place(x - width, bottom - height),
  ];
  const shared = (a, b) => Math.max(0, Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0])) *
    Math.max(0, Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]));
  const covered = places.map((option) => plates.reduce((sum, plate) => sum + shared(option, plate), 0));
  return places[covered.indexOf(Math.min(...covered))];
}

function isBright(color) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 115;
}

/* The smallest box under a point of the canvas, so that objects in front of larger ones can be chosen. */
function trackAt(canvas, {frame, size}, event, view) {
  const place = canvas.getBoundingClientRect();
  const x = (event.clientX - place.left) / place.width * size[0];
  const y = (event.clientY - place.top) / place.height * size[1];
  const area = (box) => (box[3] - box[1]) * (box[4] - box[2]);
  const hit = frame.boxes
    .filter((box) => view.shown.has(box[0]) && x >= box[1] && x <= box[3] && y >= box[2] && y <= box[4])
    .sort((a, b) => area(a) - area(b))[0];
  return hit ? hit[0] : null;
}
