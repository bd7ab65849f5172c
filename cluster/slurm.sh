#!/usr/bin/env bash
# Runs a campaign on all nodes of one Slurm allocation: sbatch cluster/slurm.sh CAMPAIGN
#
# From the repository's folder, which every node must see, with its environment in .venv (`uv sync`).
# Submitted again, it goes on with the campaign. Needs Slurm 20.11 or newer (srun --overlap).
#SBATCH --job-name=regtune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
# Two minutes before the time is up the campaign saves where it is; one that ends with 143 has more to do.
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append
set -euo pipefail
campaign=$(realpath "${1:?usage: sbatch cluster/slurm.sh CAMPAIGN}")
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch, from the folder of the repository}"
export PATH="$PWD/.venv/bin:$PATH"

shared=$(mktemp -d "$PWD/.slurm-$SLURM_JOB_ID-XXXXXX") # for this user alone, as is the token in it
local=/tmp/ray-$SLURM_JOB_ID # on each node; Ray's socket paths must stay short
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$shared/token" RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
(umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")

steps=()
driver=
# shellcheck disable=SC2329 # the trap calls it
end() {
    trap - EXIT
    trap '' TERM INT
    ((${#steps[@]} == 0)) || kill "${steps[@]}" 2>/dev/null || true
    wait
    rm -rf "$shared"
}
trap end EXIT
trap '[[ -z $driver ]] || kill -TERM "$driver"' TERM INT

# Jobs that share a node must not share ports either.
port=$((20000 + SLURM_JOB_ID % 10000 * 4))
start() { # NODE, then the arguments that make it the head or one that joins
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" \
        ray start --block "${@:2}" --temp-dir="$local" --disable-usage-stats \
        --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
        --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=$((port + 2)) \
        >"$shared/$1.log" 2>&1 &
    steps+=($!)
}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
client=() # a server that nobody needs; where Ray can start it, it does
if python -c 'import grpc' 2>/dev/null; then client=(--ray-client-server-port=$((port + 1))); fi
start "${nodes[0]}" --head --port="$port" --include-dashboard=false "${client[@]}"
until address=$(cat "$local/ray_current_cluster" 2>/dev/null) && ray health-check --address="$address" &>/dev/null; do
    kill -0 "${steps[0]}" 2>/dev/null || { cat "$shared/${nodes[0]}.log" >&2; exit 1; }
    sleep 1
done
for node in "${nodes[@]:1}"; do start "$node" --address="$address"; done

# Nodes that are late are used once they are there.
python - "$address" "${#nodes[@]}" <<'EOF'
import logging, sys, time
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
deadline = time.monotonic() + 120
while (ready := sum(node["Alive"] for node in ray.nodes())) < int(sys.argv[2]) and time.monotonic() < deadline:
    time.sleep(1)
print(f"{ready} of {sys.argv[2]} nodes are ready", flush=True)
EOF

python tune.py run "$campaign" --address "$address" &
driver=$!
code=0
# A signal ends the first wait; the second one is for the driver, which then saves its position.
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do wait "$driver" || code=$?; done
exit "$code"
