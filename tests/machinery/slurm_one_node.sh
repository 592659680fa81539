#!/bin/bash
# A SLURM cluster of one node, this machine, for trying out and for tests. As root, in a container
# of Debian or Ubuntu:
#
#   tests/machinery/slurm_one_node.sh && export SLURM_CONF=/etc/slurm-one-node/slurm.conf && sinfo
set -euo pipefail

folder=/etc/slurm-one-node
if ! command -v slurmctld >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi

mkdir -p "$folder/state" "$folder/spool"
install -d -o munge -g munge -m 0755 /run/munge
install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge
# A restarted container keeps the socket of a munged that is gone: ask it, do not look for it.
timeout 5 munge --no-input >/dev/null 2>&1 || runuser -u munge -- munged --force

memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
printf '%s\n' \
    ClusterName=one_node \
    "SlurmctldHost=$(hostname)(127.0.0.1)" \
    SlurmUser=root \
    SlurmdUser=root \
    AuthType=auth/munge \
    "StateSaveLocation=$folder/state" \
    "SlurmdSpoolDir=$folder/spool" \
    "SlurmctldPidFile=$folder/slurmctld.pid" \
    "SlurmdPidFile=$folder/slurmd.pid" \
    "SlurmctldLogFile=$folder/slurmctld.log" \
    "SlurmdLogFile=$folder/slurmd.log" \
    ProctrackType=proctrack/linuxproc \
    TaskPlugin=task/none \
    SelectType=select/cons_tres \
    SelectTypeParameters=CR_Core \
    ReturnToService=2 \
    MpiDefault=none \
    JobAcctGatherType=jobacct_gather/none \
    AccountingStorageType=accounting_storage/none \
    "NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory" \
    "PartitionName=main Nodes=$(hostname) Default=YES MaxTime=INFINITE State=UP" \
    >"$folder/slurm.conf"

export SLURM_CONF="$folder/slurm.conf"
[ -f "$folder/slurmctld.pid" ] && kill -0 "$(cat "$folder/slurmctld.pid")" 2>/dev/null || slurmctld
[ -f "$folder/slurmd.pid" ] && kill -0 "$(cat "$folder/slurmd.pid")" 2>/dev/null || slurmd -N "$(hostname)"
for _ in $(seq 60); do
    timeout 5 sinfo --noheader --format=%T 2>/dev/null | grep -q idle && exec sinfo
    sleep 1
done
echo "the node is not idle after a minute: see slurmctld.log and slurmd.log in $folder" >&2
exit 1
