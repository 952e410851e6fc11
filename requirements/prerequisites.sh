#!/usr/bin/env bash
# What has to be on the machine before `make` can do its work. Each thing that is missing gets one sentence: its name,
# what for, and how to get it.
#
#   prerequisites.sh python    prints a Python that is new enough
#   prerequisites.sh build     Python, a Rust toolchain and a linker
#   prerequisites.sh focus     prints a Python 3.12, which the FOCUS validator needs
#   prerequisites.sh engines   something to run Kafka with: a given broker, Docker, or Java with Maven
#
# Exits 1 if anything is missing. `fleetmeter doctor` says more, once fleetmeter is installed.
set -euo pipefail

missing=0

lacks() {
  echo "$1" >&2
  missing=1
}

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

need_python() {
  find_python >/dev/null || lacks "fleetmeter needs Python 3.11 or newer with its venv module: \
install it (Debian/Ubuntu: apt install python3-venv, macOS: brew install python@3.13), or set PYTHON=/path/to/python3."
}

need_focus_python() {
  local name
  for name in ${PYTHON:-} python3.12 python3 python; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; then
      command -v "$name"
      return 0
    fi
  done
  lacks "The FOCUS validator needs Python 3.12 with its venv module: install it, or set PYTHON=/path/to/python3.12."
}

need_rust() {
  cargo --version >/dev/null 2>&1 || lacks "The native core needs a Rust toolchain (cargo): get it from https://rustup.rs."
  command -v cc >/dev/null 2>&1 || lacks "The native core needs a C linker (cc): \
install one (Debian/Ubuntu: apt install gcc, macOS: xcode-select --install)."
}

java_version() { # the major version, or nothing; Java 8 and older call themselves 1.x
  java -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1
}

need_kafka() {
  [ -z "${FLEETMETER_KAFKA_BOOTSTRAP:-}" ] || return 0
  docker info >/dev/null 2>&1 && return 0
  local version=""
  command -v java >/dev/null 2>&1 && version=$(java_version)
  [ "${version:-0}" -ge 17 ] && mvn -version >/dev/null 2>&1 && return 0
  lacks "A local Kafka needs either a running Docker daemon, or Java 17 or newer together with Maven: install one of them \
(Debian/Ubuntu: apt install openjdk-17-jre-headless maven, macOS: brew install openjdk@17 maven), \
or set FLEETMETER_KAFKA_BOOTSTRAP=host:port to use a broker that runs already."
}

case "${1:-}" in
  python) need_python && find_python ;;
  focus) need_focus_python ;;
  build) need_python && need_rust ;;
  engines) need_kafka ;;
  *)
    echo "usage: $0 python | build | focus | engines" >&2
    exit 2
    ;;
esac
exit "$missing"
