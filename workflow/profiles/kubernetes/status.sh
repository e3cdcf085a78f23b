#!/bin/sh
# Says of a job, by its name: running, success or failed.
case $(kubectl get job "$1" -o 'jsonpath={.status.conditions[?(@.status=="True")].type}' 2>&1) in
*NotFound* | *Failed*) echo failed ;;
*Complete*) echo success ;;
*) echo running ;; # an answer of a server that is down says nothing of the job
esac
