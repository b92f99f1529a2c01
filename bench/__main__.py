"""Every benchmark, one after the other: python -m bench."""

import subprocess
import sys

for job in ("features", "windows", "wire", "live"):
    print(f"--- {job}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{job}"], check=True)
