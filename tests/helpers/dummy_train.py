"""Takes the command line of train_net.py and leaves the files that it leaves, without a model.

What it does besides is in ``behave.txt`` beside its OUTPUT_DIR, one line per start, the first taken away: "kill" ends
it as the kernel would, "fail" as an error, "hang" never; "no scores" leaves out an evaluation.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def take_behaviour(file: Path) -> str:
    lines = file.read_text().splitlines() if file.is_file() else []
    file.write_text("\n".join(lines[1:]))
    return lines[0] if lines else ""


def scores(value: float) -> dict[str, float]:
    names = ("OWTA", "D.Re", "A.Acc")
    return {f"tao_ow/{name}-{group}": value for name in names for group in ("all", "known", "unknown")}


def main() -> None:
    arguments = sys.argv[1:]
    keys = dict(zip(arguments[-2::-2], arguments[:0:-2]))
    output = Path(keys["OUTPUT_DIR"])
    output.mkdir(parents=True, exist_ok=True)
    behaviour = take_behaviour(output.parent / "behave.txt")
    with open(output / "starts.txt", "a") as stream:
        stream.write(" ".join(arguments[:3]) + "\n")
    (output / "last_checkpoint").write_text("model_0000001.pth")
    (output / "model_0000001.pth").write_text("weights")
    print("training", flush=True)
    if behaviour == "hang":
        time.sleep(100)
    if behaviour == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "fail":
        sys.exit("ValueError: REDUCTION 5 does not divide 192")
    end, value = int(keys["SOLVER.MAX_ITER"]), 1000 * float(keys["SOLVER.BASE_LR"]) + float(keys["SEED"])
    lines = [{"iteration": end, **scores(value)}]
    if "TEST.EVAL_PERIOD" in keys and behaviour != "no scores":
        lines.insert(0, {"iteration": int(keys["TEST.EVAL_PERIOD"]) - 1, "total_loss": 1.0, **scores(value / 2)})
    (output / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (output / "model_final.pth").write_text("weights")


if __name__ == "__main__":
    main()
