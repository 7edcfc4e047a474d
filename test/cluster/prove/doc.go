// Package prove holds tests of what Hexapod promises to a Kubernetes, on a cluster that is up: `make prove` runs them.
package prove
