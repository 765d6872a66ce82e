/* Plays the film and says which frame is on the screen; boxes are drawn over it by others. */

class Player {
  constructor(times, end, size, onFrame, onPause) {
    this.times = times;
    this.end = end;
    this.size = size;
    this.onFrame = onFrame;
    this.onPause = onPause;
    this.records = document.querySelectorAll("script.frame");
    this.index = this.wanted = -1;
    this.loop = false;
    this.playing = false;
    this.asked = 0;
    this.video = this.film(byId("film"));
  }

  /* The video of the page; null where the browser can't play it, and times go on without pictures then. */
  film(element) {
    const video = el("video", {muted: true, playsInline: true, preload: "auto"});
    const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
    element.remove();
    this.ready = new Promise((done) => {
      video.addEventListener("loadeddata", () => done(), {once: true});
      video.addEventListener("error", () => { this.video = null; byId("no-film").hidden = false; done(); }, {once: true});
    });
    video.src = URL.createObjectURL(new Blob([bytes], {type: "video/mp4"}));
    return video;
  }

  get speed() { return this._speed || 1; }

  set speed(speed) {
    this._speed = speed;
    if (this.video) this.video.playbackRate = speed;
  }

  /* Seconds of the source in the middle of a frame: there the browser shows it, however it rounds. */
  middle(index) {
    const next = index + 1 < this.times.length ? this.times[index + 1] : this.end;
    return (this.times[index] + Math.max(next, this.times[index] + 1e-3)) / 2;
  }

  draw(index) {
    if (index !== this.index) this.record = JSON.parse(this.records[index].textContent);
    this.index = this.wanted = index;
    this.onFrame(index, this.record, this.size, this.video);
  }

  async show(index) {
    index = Math.max(0, Math.min(this.times.length - 1, index));
    const asked = ++this.asked;
    // what the next step counts from, before it is on the screen
    this.wanted = index;
    await this.ready;
    if (this.video) {
      this.video.currentTime = this.middle(index) - this.times[0];
      while (this.video.seeking) {
        await new Promise((done) => this.video.addEventListener("seeked", done, {once: true}));
      }
    }
    // while it was decoded another one may have been asked for
    if (asked === this.asked) this.draw(index);
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
    return this.show(this.at(time));
  }

  step(by) {
    this.pause();
    return this.show(this.wanted + by);
  }

  async play() {
    const first = this.index === this.times.length - 1 ? 0 : this.index;
    this.playing = true;
    await this.show(first);
    if (!this.playing) return;
    this.time = this.times[first];
    if (this.video) {
      this.video.playbackRate = this.speed;
      await this.video.play();
    }
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      this.time += Math.max(0, now - before) / 1000 * this.speed;
      before = now;
      if (this.video) this.time = this.video.ended ? this.end : this.times[0] + this.video.currentTime;
      this.advance();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  advance() {
    if (this.time >= this.end - 1e-3) {
      if (this.loop) {
        this.draw(0);
        this.time = this.times[0];
        if (this.video) {
          this.video.currentTime = 0;
          this.video.play();
        }
        return;
      }
      this.pause();
      this.show(this.times.length - 1);
      return;
    }
    // a slow machine leaves frames out rather than falling behind
    this.draw(this.at(this.time));
  }

  pause() {
    this.playing = false;
    if (this.video) this.video.pause();
    this.onPause();
  }
}
