#!/bin/sh
# Says of a job, by its number: running, success or failed.
case $(bjobs -noheader -o stat "$1" 2>&1) in
DONE*) echo success ;;
EXIT* | *"is not found"*) echo failed ;;
*) echo running ;; # an answer of a server that is down says nothing of the job
esac
