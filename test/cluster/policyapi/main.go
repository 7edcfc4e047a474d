// Command policyapi runs network-policy-api's own conformance tests of ClusterNetworkPolicy on the cluster of $KUBECONFIG.
//
// It is a test binary: -test.v and the like are its flags. Where the kernel speaks no SCTP the servers of the tests that do are left out of
// the pods, which would never be ready with them.
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	api "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/network-policy-api/conformance"
	"sigs.k8s.io/network-policy-api/conformance/tests"
	"sigs.k8s.io/network-policy-api/conformance/utils/suite"
)

// base is upstream's description of the pods that all tests use.
const base = "base/manifests.yaml"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "images" {
		if err := images(); err != nil {
			fmt.Fprintln(os.Stderr, "policyapi:", err)
			os.Exit(1)
		}
		return
	}
	testing.Main(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "ClusterNetworkPolicy", F: clusterNetworkPolicy}}, nil, nil)
}

// images prints the images that the pods are made of.
func images() error {
	text, err := conformance.Manifests.ReadFile(base)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)image: *(\S+)`).FindAllStringSubmatch(string(text), -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			fmt.Println(m[1])
		}
	}
	return nil
}

func clusterNetworkPolicy(t *testing.T) {
	cfg, err := config.GetConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Install(c.Scheme()); err != nil {
		t.Fatal(err)
	}
	o := suite.Options{Client: c, ClientSet: set, KubeConfig: *cfg, CleanupBaseResources: true, EnableAllSupportedFeatures: true}
	if !speaksSCTP() {
		server := withoutSCTP(t)
		defer server.Close()
		o.BaseManifests = server.URL
	}
	s := suite.New(o)
	s.Setup(t)
	s.Run(t, tests.ConformanceTests)
}

// speaksSCTP asks the kernel.
func speaksSCTP() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// withoutSCTP serves upstream's pods less the containers that listen by SCTP: the suite takes its pods from a file of its own or from a URL.
func withoutSCTP(t *testing.T) *httptest.Server {
	text, err := conformance.Manifests.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, part := range regexp.MustCompile(`(?m)^        - name: `).Split(string(text), -1) {
		container, rest, more := strings.Cut(part, "\n---\n")
		if !strings.Contains(container, "SERVE_SCTP_PORT") {
			kept = append(kept, part)
			continue
		}
		if more { // what follows the last container of a set
			kept[len(kept)-1] += "---\n" + rest
		}
	}
	body := strings.Join(kept, "        - name: ")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	http.DefaultTransport = server.Client().Transport // what the suite fetches with: it takes https alone
	return server
}
