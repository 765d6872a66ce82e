"""A written .mp4 plays in a real browser, which shows its frames at their times."""

import base64

import pytest
from helpers.browser import open_browser, open_page, wait_for
from helpers.made_media import add_sound, encode
from helpers.made_videos import STEP

from effowt_d2.video import open_frames, open_writer

VARYING = [0.0, 0.03, 0.1, 0.5, 0.6, 0.63, 1.3, 1.8, 2.2, 2.9, 3.0, 3.3]
PAGE = '<video id="v" muted src="data:video/mp4;base64,{}" style="width: 640px"></video><canvas id="c" width="1" height="1"></canvas>'
SHOWN = """
async (time) => {
  const video = document.getElementById("v");
  await new Promise((done) => { video.addEventListener("seeked", done, {once: true}); video.currentTime = time; });
  const context = document.getElementById("c").getContext("2d");
  context.drawImage(video, 0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data[1];
}
"""

pytestmark = pytest.mark.browser


def test_an_mp4_plays_and_shows_every_frame_at_its_time(tmp_path):
    source = add_sound(encode(tmp_path / "silent.mp4", times=VARYING, size=(320, 240)), tmp_path / "v.mp4")
    with open_frames(source) as frames, open_writer(tmp_path / "out.mp4", frames.rate, sound=frames.sound) as writer:
        for frame in frames:
            writer.write(frame.image, frame.index, frame.time)
    # pixels of another file may not be looked at by a page
    (tmp_path / "page.html").write_text(PAGE.format(base64.b64encode((tmp_path / "out.mp4").read_bytes()).decode()))
    with open_browser() as browser, open_page(browser) as page:
        page.goto((tmp_path / "page.html").as_uri())
        wait_for(page, "document.getElementById('v').readyState >= 2")
        lasts = page.evaluate("document.getElementById('v').duration")
        assert lasts == pytest.approx(VARYING[-1] + 0.3, abs=0.05)
        middles = [(begin + end) / 2 for begin, end in zip(VARYING, [*VARYING[1:], lasts])]
        shown = [round((page.evaluate(SHOWN, time) - 10) / STEP) for time in middles]
        assert shown == list(range(12))
        page.evaluate("document.getElementById('v').currentTime = 0; document.getElementById('v').play()")
        wait_for(page, "document.getElementById('v').ended")
