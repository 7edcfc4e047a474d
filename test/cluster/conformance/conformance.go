// Package conformance runs upstream's own tests on a cluster and reads what became of them from their JUnit file.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"hexapod.dev/test/cluster"
)

// Suite is a set of upstream's specs, chosen as ginkgo does: by regular expressions over their names.
type Suite struct {
	Name    string
	Focus   string
	Skip    string
	Procs   int           // that many specs at a time; they mostly wait, so more than processors is right
	Timeout time.Duration // of all together
}

// left are specs that are out of every suite: they break the cluster, or are known to fail by chance.
const left = `\[Disruptive\]|\[Flaky\]`

// Network is the conformance suite of upstream's network group.
var Network = Suite{Name: "conformance", Focus: `\[sig-network\].*\[Conformance\]`, Skip: left, Procs: 4, Timeout: 20 * time.Minute}

// nodePorts are the specs of Network in which somebody connects to a node port.
const nodePorts = `from ExternalName to NodePort|functioning NodePort service|session affinity .*for NodePort service`

// NetworkOf is Network for a cluster: where no kube-proxy runs nobody serves node ports.
func NetworkOf(o cluster.Options) Suite {
	s := Network
	if !o.KubeProxy {
		s.Skip += "|" + nodePorts
	}
	return s
}

// Webhooks are the specs in which the API server, on its own node, calls pods on the workers.
var Webhooks = Suite{Name: "webhooks", Focus: `\[sig-api-machinery\] AdmissionWebhook .*\[Conformance\]`, Skip: left, Procs: 4, Timeout: 20 * time.Minute}

// Others are all other specs of the group that need no feature to be switched on and no cluster for themselves.
var Others = Suite{
	Name: "sig-network", Focus: `\[sig-network\]`, Procs: 8, Timeout: 30 * time.Minute,
	Skip: left + `|\[Conformance\]|\[Feature:|\[Serial\]|\[Slow\]|\[Alpha\]`,
}

// Policy are the specs of NetworkPolicy, but for those that want the kernel to speak SCTP.
var Policy = Suite{
	Name: "policy", Focus: `\[Feature:NetworkPolicy\]`, Skip: left + `|\[Feature:SCTPConnectivity\]`, Procs: 6, Timeout: 60 * time.Minute,
}

// Suites are those that can be asked for by name.
var Suites = map[string]Suite{Network.Name: Network, Policy.Name: Policy}

// Run runs a suite on a cluster and returns the results of the specs that ran. Specs that failed are no error.
func Run(ctx context.Context, k *cluster.Cluster, s Suite, report func(string)) (Results, error) {
	dir := filepath.Join(k.Logs(), s.Name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("%s: remove the results of the last run: %w", s.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: make the folder of results: %w", s.Name, err)
	}
	log, err := os.Create(filepath.Join(dir, "log.txt"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	defer log.Close()
	report(fmt.Sprintf("running %s, %d at a time; log: %s", s.Name, s.Procs, log.Name()))
	cmd := k.Command(ctx, "ginkgo", "--procs="+strconv.Itoa(s.Procs), "--timeout="+s.Timeout.String(), "--no-color", "--silence-skips",
		"--focus="+s.Focus, "--skip="+s.Skip, k.Program("e2e.test"), "--",
		"--provider=skeleton", "--kubeconfig="+k.Kubeconfig(), "--kubectl-path="+k.Program("kubectl"),
		"--report-dir="+dir, "--disable-log-dump", "--num-nodes="+strconv.Itoa(k.Options.Workers))
	cmd.Stdout, cmd.Stderr = log, log
	runErr := k.Run(cluster.Router, cmd)
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		return nil, fmt.Errorf("%s: %w", s.Name, runErr)
	}
	results, err := Read(filepath.Join(dir, "junit_01.xml"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s (log: %s): %w", s.Name, log.Name(), err), runErr)
	}
	if runErr != nil && len(results.Failed()) == 0 {
		return results, fmt.Errorf("%s: the runner failed although no spec did (log: %s): %w", s.Name, log.Name(), runErr)
	}
	return results, nil
}
