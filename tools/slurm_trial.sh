#!/bin/bash
# Try slsfgr on a real SLURM of one machine: tools/slurm_trial.sh PYTHON DIR   (Debian or Ubuntu, as root)
#
# Install SLURM and munge, start them with their files in DIR, run a batch of five small cases on workers that SLURM
# starts, and a short training with two processes by srun and torchrun. In the end SLURM is stopped again.
# PYTHON has slsfgr with the extras cluster and train, and dask-jobqueue; the images are made from ../shared/data.
set -euo pipefail
python=$(realpath --no-symlinks "$1")
mkdir -p "$2"
dir=$(realpath "$2")
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD SLURM_CONF=$dir/slurm.conf OMP_NUM_THREADS=1
PATH=$(dirname "$python"):$PATH

command -v slurmctld munged > /dev/null || apt-get install -y --no-install-recommends slurm-wlm munge > "$dir/apt.log"

# --- one machine ----------------------------------------------------------------------------------
host=$(hostname -s)
cores=$(nproc --all)
mkdir -p "$dir/state" "$dir/spool" /run/munge
chown munge: /run/munge
cat > "$SLURM_CONF" <<END
ClusterName=trial
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName=$host CPUs=$cores RealMemory=$(awk '/MemTotal/ { print int($2 / 1100) }' /proc/meminfo) State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
own=()
finish() {
    for process in "${own[@]}"; do kill "$process" 2> /dev/null || true; done
    wait
}
trap finish EXIT
runuser -u munge -- munged --foreground > "$dir/munged.log" 2>&1 & own+=($!)
sleep 2
slurmctld -D > "$dir/slurmctld.out" 2>&1 & own+=($!)
slurmd -D > "$dir/slurmd.out" 2>&1 & own+=($!)
for _ in $(seq 60); do
    sinfo --noheader --format %T 2> /dev/null | grep -q idle && break
    sleep 1
done
sinfo

# --- a batch ----------------------------------------------------------------------------------------
"$python" -m benchmarks.cohort_cases "$dir/images" --cases 5 --spacing 4
cd "$dir"
"$python" "$PYTHONPATH/tools/slurm_workers.py" --jobs 2 --cores 1 --memory 4GB --hours 1 --interface lo \
    > address 2> workers.log & own+=($!)
for _ in $(seq 120); do
    [ -s address ] && break
    sleep 1
done
status=0
"$python" -m SLSFGRLib batch images/cases.csv --output results --scheduler "$(cat address)" --mode fast \
    --transform deformable 2> batch.log || status=$?
squeue --format "%i %j %T %M %C"
echo "done: $(grep -c ',done,' results/results.csv)"
# One image is corrupt: the command says so and ends with 2.
tail -n 1 batch.log
[ $status = 2 ]
kill "${own[-1]}"
unset "own[-1]"

# --- a training ---------------------------------------------------------------------------------------
cat > recipe.toml <<END
[model]
network = "li_fan"
factor = 4
[data]
training = ["images/100[0-2].nii.gz"]
validation = ["images/100[6-7].nii.gz"]
[training]
steps = 4
batch = 2
validate_every = 2
END
cat > train.sh <<END
#!/bin/sh
#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=$cores
srun torchrun --standalone --nproc_per_node 2 -m SLSFGRLib train recipe.toml --output model --device cpu
END
sbatch --wait --output train.out train.sh
cat train.out model/curve.csv
