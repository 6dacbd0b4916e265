#!/usr/bin/env bash
# Installs the real clients that the tests drive, each at an exact version, into one cache folder and nowhere else:
#
#   npm      the official conformance suite, the TypeScript SDK, and a Node that is new enough for both (package.json, package-lock.json)
#   python   the Python SDK in a virtual environment (requirements.txt)
#   more     the AI SDK's client before and after it read unnamed events, the Inspector, mcp-remote (more/package.json)
#   fastmcp  FastMCP (requirements-fastmcp.txt)
#   python1  the last major version of the Python SDK before it, which knows only the handshake era (requirements-1.txt)
#
# usage: tests/clients/install.sh [npm] [python] [python1] [more] [fastmcp]      the first three when none is named
#
# MCP_CLIENTS_CACHE   the cache folder, .cache/clients at the root of the repository by default
# PYTHON              the Python to build the environment with, python3 by default (3.10 or newer)
#
# Running it again is cheap: a part is skipped while its pins are the ones that were installed last.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MCP_CLIENTS_CACHE:-$(cd "$here/../.." && pwd)/.cache/clients}
python=${PYTHON:-python3}

# Runs a command that needs the network, and once more if it fails.
twice() {
    "$@" </dev/null && return
    echo "clients: '$1' failed, once more in 5 s" >&2
    sleep 5
    "$@" </dev/null
}

# Whether the folder holds what the pins ask for. The marker is written last, so that half an installation does not count.
installed() { # folder, pins
    [ -f "$1/installed" ] && [ "$(cat "$1/installed")" = "$2" ]
}

install_npm() { # folder in the cache, folder of pins
    local folder=$cache/$1 from=$2 pins
    pins=$(cat "$from/package.json" "$from/package-lock.json")
    if installed "$folder" "$pins"; then
        echo "clients: npm packages of $1 are there"
        return
    fi
    if ! command -v npm >/dev/null; then
        echo "clients: there is no npm on the PATH; it comes with Node" >&2
        exit 1
    fi
    echo "clients: installing npm packages into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$from/package.json" "$from/package-lock.json" "$folder"
    # The suite asks for Node 22: npm may run on an older one, since the suite itself runs on the Node that is installed here.
    twice npm ci --prefix "$folder" --engine-strict=false --ignore-scripts --no-audit --no-fund --loglevel=error
    printf '%s' "$pins" >"$folder/installed"
}

install_python() { # folder in the cache, file of pins
    local folder=$cache/$1 file=$here/$2 pins
    pins=$(cat "$file" && "$python" --version)
    if installed "$folder" "$pins"; then
        echo "clients: Python packages of $2 are there"
        return
    fi
    echo "clients: installing Python packages of $2 into $folder"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    twice "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --requirement "$file"
    "$folder/bin/python" -c 'import mcp' # an import that fails is a broken installation: say so here
    printf '%s' "$pins" >"$folder/installed"
}

[ $# -gt 0 ] || set -- npm python python1
mkdir -p "$cache"
for part in "$@"; do
    case $part in
    npm) install_npm npm "$here" ;;
    more) install_npm more "$here/more" ;;
    fastmcp) install_python fastmcp requirements-fastmcp.txt ;;
    python) install_python python requirements.txt ;;
    python1) install_python python1 requirements-1.txt ;;
    *)
        echo "clients: no such part: $part" >&2
        exit 2
        ;;
    esac
done
