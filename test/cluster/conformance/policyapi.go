package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/build"
)

// PolicyAPI is the name of network-policy-api's own suite, of ClusterNetworkPolicy.
const PolicyAPI = "policyapi"

// RunPolicyAPI runs network-policy-api's conformance tests on a cluster. Tests that failed are no error.
func RunPolicyAPI(ctx context.Context, k *cluster.Cluster, cache build.Cache, report func(string)) (Results, error) {
	program, definition, err := cache.PolicyAPI(ctx, report)
	if err != nil {
		return nil, err
	}
	if err := preparePolicyAPI(ctx, k, cache, program, definition); err != nil {
		return nil, fmt.Errorf("%s: %w", PolicyAPI, err)
	}
	log, err := os.Create(filepath.Join(k.Logs(), PolicyAPI+".txt"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PolicyAPI, err)
	}
	defer log.Close()
	report(fmt.Sprintf("running %s; log: %s", PolicyAPI, log.Name()))
	cmd := k.Command(ctx, program, "-test.v")
	cmd.Stdout, cmd.Stderr = log, log
	runErr := k.Run(cluster.Router, cmd)
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		return nil, fmt.Errorf("%s: %w", PolicyAPI, runErr)
	}
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%s: read what it said: %w", PolicyAPI, err)
	}
	results, err := parseGo(log)
	if err != nil {
		return nil, fmt.Errorf("%s (log: %s): %w", PolicyAPI, log.Name(), err)
	}
	if runErr != nil && len(results.Failed())+len(results.Skipped()) == 0 {
		return results, fmt.Errorf("%s: the runner failed although no test did (log: %s): %w", PolicyAPI, log.Name(), runErr)
	}
	return results, nil
}

// preparePolicyAPI installs the kind under test, and gives the image that every node has the names that the tests call it by.
func preparePolicyAPI(ctx context.Context, k *cluster.Cluster, cache build.Cache, program, definition string) error {
	do := func(machine string, words ...string) error {
		cmd := k.Command(ctx, words...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := k.Run(machine, cmd); err != nil {
			return fmt.Errorf("%s on %s: %w: %s", strings.Join(words, " "), machine, err, strings.TrimSpace(said.String()))
		}
		return nil
	}
	names, err := cache.Names(ctx)
	if err != nil {
		return err
	}
	images, err := exec.CommandContext(ctx, program, "images").Output()
	if err != nil {
		return fmt.Errorf("ask for the images of the tests: %w", err)
	}
	for _, image := range strings.Fields(string(images)) {
		for _, node := range k.Nodes() {
			if err := do(node, "ctr", "-n", "k8s.io", "images", "tag", "--force", names["agnhost"], image); err != nil {
				return err
			}
		}
	}
	return do(cluster.Router, "kubectl", "apply", "--server-side", "-f", definition)
}

var (
	goResult = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(([0-9.]+)s\)$`)
	goRun    = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +(\S+)$`)
	sctpPoke = regexp.MustCompile(`FAILED Command was .*--protocol=(\w+)`)
)

// noSCTP is why tests are left out on kernels that do not speak it.
const noSCTP = "the kernel speaks no SCTP"

// parseGo reads what a Go test said with -test.v. The tests that have no others inside are the results. One that failed, and that is
// about SCTP or tried that last, is left out where the kernel does not have it.
func parseGo(r io.Reader) (Results, error) {
	said, last := map[string]string{}, map[string]string{} // by test: first words of its failure, and the transport it tried last
	var all Results
	inner := map[string]bool{} // tests that have others inside
	now := ""
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := goRun.FindStringSubmatch(line); m != nil {
			now = m[1]
			if i := strings.LastIndex(now, "/"); i > 0 {
				inner[now[:i]] = true
			}
			continue
		}
		if m := goResult.FindStringSubmatch(line); m != nil {
			seconds, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			x := Result{Spec: m[2], Passed: m[1] == "PASS", Seconds: seconds, Why: said[m[2]]}
			switch {
			case m[1] == "SKIP":
				x.Skipped = "it says so itself"
			case m[1] == "FAIL" && (last[m[2]] == "sctp" || strings.Contains(m[2], "SCTP")) && !speaksSCTP():
				x.Skipped = noSCTP
			}
			all = append(all, x)
			continue
		}
		if m := sctpPoke.FindStringSubmatch(line); m != nil {
			last[now] = m[1]
		}
		if text := strings.TrimSpace(line); said[now] == "" && strings.Contains(text, "Error:") {
			said[now] = text
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	var leaves Results
	for _, x := range all {
		if !inner[x.Spec] {
			x.Spec = strings.ReplaceAll(x.Spec[strings.Index(x.Spec, "/")+1:], "_", " ")
			leaves = append(leaves, x)
		}
	}
	if len(leaves) == 0 {
		return nil, errors.New("the results have no test that ran")
	}
	return leaves, nil
}
