/* A frame and its boxes on the canvas, as sharp as the screen allows. */

const DARK = "#101010";

function fitCanvas(canvas, frame) {
  const room = canvas.parentElement.clientWidth, tall = Math.max(240, window.innerHeight * 0.62);
  const zoom = Math.min(room / frame.width, tall / frame.height);
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(frame.width * zoom)), height = Math.max(1, Math.round(frame.height * zoom));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  return canvas.width / frame.width;
}

function drawFrame(canvas, frame, image, view) {
  const zoom = fitCanvas(canvas, frame), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (!view.boxes) return;
  const line = Math.max(1.5, Math.min(canvas.width, canvas.height) / 260);
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
    if (view.labels && !dim) drawLabel(context, track, box[5], x, y, line);
  }
  context.globalAlpha = 1;
}

function drawLabel(context, track, score, x, y, line) {
  const text = [track.id, track.name, score.toFixed(2)].filter((part) => part !== "").join(" ");
  const size = Math.max(11, 6 * line + 3);
  context.font = "600 " + size + "px system-ui, sans-serif";
  const width = context.measureText(text).width + 8;
  const left = Math.max(0, Math.min(x, context.canvas.width - width)), top = y > size + 6 ? y - size - 6 : y;
  context.fillStyle = track.color;
  context.fillRect(left, top, width, size + 6);
  context.fillStyle = isBright(track.color) ? DARK : "#ffffff";
  context.textBaseline = "middle";
  context.fillText(text, left + 4, top + size / 2 + 3);
}

function isBright(color) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 115;
}

/* The smallest box under a point of the canvas, so that objects in front of larger ones can be chosen. */
function trackAt(canvas, frame, event, view) {
  const place = canvas.getBoundingClientRect();
  const x = (event.clientX - place.left) / place.width * frame.width;
  const y = (event.clientY - place.top) / place.height * frame.height;
  const area = (box) => (box[3] - box[1]) * (box[4] - box[2]);
  const hit = frame.boxes
    .filter((box) => view.shown.has(box[0]) && x >= box[1] && x <= box[3] && y >= box[2] && y <= box[4])
    .sort((a, b) => area(a) - area(b))[0];
  return hit ? hit[0] : null;
}
