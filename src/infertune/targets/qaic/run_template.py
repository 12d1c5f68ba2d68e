"""Run this program on its card with the vendor's runner: python run.py [seconds]. Commands are in config.json."""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text())


def main(seconds: int) -> None:
    argv = [*CONFIG["commands"]["run"][:-1], str(seconds)]
    try:
        done = subprocess.run(argv, cwd=HERE, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be started: {error.strerror}; mend its path in config.json")
    results = re.findall(r"InferenceCnt (\d+) TotalDuration (\d+)us BatchSize (\d+)", done.stdout)
    if done.returncode or not results:
        sys.exit(f"{done.stdout}\nno whole result; the runner ended with exit code {done.returncode}")
    count, micros, batch = map(int, results[-1])
    rate = count * batch * 1e6 / micros
    note = " (a simulated card)" if CONFIG["simulated"] else ""
    print(f"{rate:.1f} samples/s{note}; expected {CONFIG['expected']['throughput_per_s']['value']:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
