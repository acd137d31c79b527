"""Start Dask workers as SLURM jobs: ``python slurm_workers.py --jobs 20 --cores 4 --memory 8GB --hours 12``.

Run it where jobs are submitted, with the Python that has slsfgr and dask-jobqueue, on a file system that all machines
share. It writes the address for ``slsfgr batch --scheduler`` to standard output. Ctrl-C ends the workers' jobs; SLURM
ends them when their hours are over.
"""

from __future__ import annotations

import argparse
import signal
import threading

from dask_jobqueue import SLURMCluster


def main() -> None:
    """Submit the jobs and wait."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, required=True, metavar="N", help="one worker each")
    parser.add_argument("--cores", type=int, default=4, metavar="N", help="of each job (default: 4)")
    parser.add_argument("--memory", default="8GB", help="of each job (default: 8GB)")
    parser.add_argument("--hours", type=int, default=8, help="of each job (default: 8)")
    parser.add_argument("--queue", metavar="PARTITION", help="default: that of your SLURM")
    parser.add_argument("--interface", metavar="NAME", help="network between the machines, such as ib0")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="such as --account=brains")
    given = parser.parse_args()
    # One process in each job: a registration uses all cores of the job.
    with SLURMCluster(
        cores=given.cores,
        processes=1,
        memory=given.memory,
        walltime=f"{given.hours}:00:00",
        queue=given.queue,
        interface=given.interface,
        job_extra_directives=given.sbatch,
    ) as cluster:
        cluster.scale(jobs=given.jobs)
        print(cluster.scheduler_address, flush=True)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


if __name__ == "__main__":
    main()
