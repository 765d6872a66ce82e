/* Plays the frames at the times they were taken; frames are decoded as they are needed. */

class Player {
  constructor(times, end, onFrame, onPause) {
    this.times = times;
    this.end = end;
    this.onFrame = onFrame;
    this.onPause = onPause;
    this.records = document.querySelectorAll("script.frame");
    this.cache = new Map();
    this.index = 0;
    this.speed = 1;
    this.loop = false;
    this.playing = false;
    this.busy = false;
  }

  /* The record and the decoded picture of a frame; the latest ones are remembered. */
  load(index) {
    if (!this.cache.has(index)) {
      const frame = JSON.parse(this.records[index].textContent), image = new Image();
      image.src = jpeg(frame.jpeg);
      this.cache.set(index, image.decode().then(() => ({frame, image})));
      if (this.cache.size > 24) this.cache.delete(this.cache.keys().next().value);
    }
    return this.cache.get(index);
  }

  async show(index) {
    index = Math.max(0, Math.min(this.times.length - 1, index));
    this.index = index;
    const loaded = await this.load(index);
    // while it was decoded another one may have been asked for
    if (this.index === index) this.onFrame(index, loaded.frame, loaded.image);
  }

  /* The frame on screen at a time. */
  at(time) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.times[middle] <= time + 1e-3) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  seek(time) {
    this.time = time;
    return this.show(this.at(time));
  }

  step(by) {
    this.pause();
    return this.show(this.index + by);
  }

  play() {
    const last = this.index === this.times.length - 1;
    this.time = this.times[last ? 0 : this.index];
    this.playing = true;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      this.time += Math.max(0, now - before) / 1000 * this.speed;
      before = now;
      this.advance();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  advance() {
    if (this.time >= this.end) {
      if (!this.loop) {
        this.show(this.times.length - 1);
        this.pause();
        return;
      }
      this.time = this.times[0];
    }
    const index = this.at(this.time);
    // a slow machine leaves frames out rather than falling behind
    if (index === this.index || this.busy) return;
    this.busy = true;
    this.show(index).finally(() => { this.busy = false; });
    if (index + 1 < this.times.length) this.load(index + 1);
  }

  pause() {
    this.playing = false;
    this.onPause();
  }
}
