#!/usr/bin/env bash
# A kind cluster to try the platform on: `make kind-up`, `make deploy`, `make kind-down`. Needs docker, kind, kubectl, helm.
#
#   scripts/kind.sh up        a cluster of two nodes, the second with a GPU in name
#   scripts/kind.sh load      the images of `make images` into its nodes
#   scripts/kind.sh deploy    the platform, in a namespace that allows restricted pods only
#   scripts/kind.sh down      the cluster goes, with all in it
#
# CLUSTER, NAMESPACE and RELEASE name things other than storecast; KIND_NODE_IMAGE is the node's image.
set -euo pipefail
cd "$(dirname "$0")/.."
CLUSTER=${CLUSTER:-storecast} NAMESPACE=${NAMESPACE:-storecast} RELEASE=${RELEASE:-storecast}
VERSION=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/storecast/Chart.yaml)
CONTEXT=kind-$CLUSTER
LOAD_GIB=20

for tool in docker kind kubectl helm; do
  command -v "$tool" > /dev/null || { echo "$tool not found: install it, or put it on the PATH" >&2; exit 1; }
done

up() {
  if ! kind get clusters 2> /dev/null | grep -qx "$CLUSTER"; then
    kind create cluster --name "$CLUSTER" --config configs/kind.yaml --wait 180s ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"}
  fi
  kubectl --context "$CONTEXT" patch node "$CLUSTER-worker" --subresource=status --type=json \
    -p '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "1"}]'
}

# Each node keeps every image, packed and unpacked: 18 GiB were counted. Where Docker runs in a machine of its own, its disk
# is not to be seen from here.
room() {
  local root free
  root=$(docker info --format '{{.DockerRootDir}}')
  [[ -d $root ]] || return 0
  free=$(($(stat --file-system --format '%a*%S' "$root") >> 30))
  if ((free < LOAD_GIB)); then
    echo "the images in two nodes need $LOAD_GIB GiB, and $free are free at $root: \`docker system prune\` makes room" >&2
    exit 1
  fi
}

# One archive, so that the layers which images share travel once; a node that has all images already is left alone.
load() {
  room
  local images=()
  for name in component train-gpu serving dashboard prefect mlflow; do images+=("storecast/$name:$VERSION"); done
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  docker save "${images[@]}" -o "$folder/images.tar"
  kind load image-archive "$folder/images.tar" --name "$CLUSTER"
}

deploy() {
  kubectl --context "$CONTEXT" create namespace "$NAMESPACE" --dry-run=client -o yaml \
    | kubectl --context "$CONTEXT" apply -f - > /dev/null
  kubectl --context "$CONTEXT" label --overwrite namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted > /dev/null
  helm upgrade --install "$RELEASE" charts/storecast --kube-context "$CONTEXT" --namespace "$NAMESPACE" "$@"
}

down() {
  kind delete cluster --name "$CLUSTER"
}

case "${1:-}" in
  up | load | deploy | down) "$@" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
