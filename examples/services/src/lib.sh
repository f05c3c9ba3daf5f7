#!/bin/sh
hello() { echo "$1 VERSION is up"; }
