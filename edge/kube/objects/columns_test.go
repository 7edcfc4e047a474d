//go:build cluster

package objects_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"hexapod.dev/edge/kube/kubetest"
)

// columns fails the test unless `kubectl get` shows the only object of a kind as want says, its age left out: kubectl asks the API server
// for a table, and prints it.
func columns(t *testing.T, s *kubetest.Server, plural, want string) {
	t.Helper()
	config := s.Config(kubetest.AdminToken)
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+"/apis/hexapod.dev/v1alpha1/"+plural, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	answer, err := h.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var table struct {
		ColumnDefinitions []struct{ Name string }
		Rows              []struct{ Cells []any }
	}
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("the table of %s: %d rows, %v", plural, len(table.Rows), err)
	}
	var have []string
	for i, cell := range table.Rows[0].Cells {
		if name := table.ColumnDefinitions[i].Name; name != "Age" {
			if cell == nil {
				cell = ""
			}
			have = append(have, fmt.Sprintf("%s=%v", name, cell))
		}
	}
	if got := strings.Join(have, " "); got != want {
		t.Errorf("kubectl get %s:\nhave %s\nwant %s", plural, got, want)
	}
}
