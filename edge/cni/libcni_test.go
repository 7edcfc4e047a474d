package cni_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/test/cnitest"
)

var pod = cnitest.Endpoint{Container: "c1", Interface: "eth0", NetNS: "/run/netns/c1", Args: [][2]string{
	{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "shop"}, {"K8S_POD_NAME", "cart-0"},
	{"K8S_POD_INFRA_CONTAINER_ID", "c1"}, {"K8S_POD_UID", "0c5e"}, {"MADE_UP", "x"},
}}

// results of the first ADD, as a runtime sees them.
var results = map[string]string{
	"0.4.0": `{"cniVersion":"0.4.0","interfaces":[{"mac":"02:00:00:00:00:01","name":"hx1"},` +
		`{"mac":"02:00:00:00:00:02","name":"eth0","sandbox":"/run/netns/c1"}],` +
		`"ips":[{"address":"2001:db8::100:1/128","gateway":"fe80::1","interface":1,"version":"6"}],"routes":[{"dst":"::/0","gw":"fe80::1"}]}`,
	"1.0.0": `{"cniVersion":"1.0.0","interfaces":[{"mac":"02:00:00:00:00:01","name":"hx1"},` +
		`{"mac":"02:00:00:00:00:02","name":"eth0","sandbox":"/run/netns/c1"}],` +
		`"ips":[{"address":"2001:db8::100:1/128","gateway":"fe80::1","interface":1}],"routes":[{"dst":"::/0","gw":"fe80::1"}]}`,
	"1.1.0": `{"cniVersion":"1.1.0","interfaces":[{"mac":"02:00:00:00:00:01","mtu":1492,"name":"hx1"},` +
		`{"mac":"02:00:00:00:00:02","mtu":1492,"name":"eth0","sandbox":"/run/netns/c1"}],` +
		`"ips":[{"address":"2001:db8::100:1/128","gateway":"fe80::1","interface":1}],"routes":[{"dst":"::/0","gw":"fe80::1"}]}`,
}

// text is a result in JSON with sorted keys, empty dns left out (libcni's 0.4.0 type always writes it).
func text(t *testing.T, result any) string {
	t.Helper()
	raw, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	if dns, ok := members["dns"].(map[string]any); ok && len(dns) == 0 {
		delete(members, "dns")
	}
	raw, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestCNI2_CommandsInEveryVersion(t *testing.T) {
	for version, want := range results {
		t.Run(version, func(t *testing.T) {
			f, backend := newFolders(t), &fake{}
			f.serve(t, backend)
			d, ctx := f.driver(t, version, f.plugin(nil)), t.Context()

			first, err := d.Add(ctx, pod)
			if err != nil {
				t.Fatalf("ADD: %v", err)
			}
			if diff := cmp.Diff(want, text(t, first)); diff != "" {
				t.Errorf("ADD result (-want +got):\n%s", diff)
			}
			if r := backend.last; r.Namespace != "shop" || r.Name != "cart-0" || r.UID != "0c5e" || r.Network != "hexapod" {
				t.Errorf("backend was asked for %+v", r)
			}
			again, err := d.Add(ctx, pod)
			if err != nil || text(t, again) != want {
				t.Errorf("ADD again: %v, %v, want the same result", again, err)
			}
			if err := d.Check(ctx, pod); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			second := pod
			second.Interface = "eth1"
			if _, err := d.Add(ctx, second); err != nil {
				t.Errorf("ADD of a second interface: %v", err)
			}
			if err := d.Status(ctx); err != nil {
				t.Errorf("STATUS: %v", err)
			}
			for range 2 { // the second finds nothing
				if err := d.Del(ctx, second); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
			if diff := cmp.Diff([]string{"c1/eth0"}, backend.keys()); diff != "" {
				t.Errorf("living after DEL (-want +got):\n%s", diff)
			}
			gone := cnitest.Endpoint{Container: "never-was", Interface: "eth0", NetNS: ""}
			if err := d.Del(ctx, gone); err != nil {
				t.Errorf("DEL of what never was, without a namespace: %v", err)
			}
		})
	}
}

func TestCNI2_CheckFindsWhatIsMissing(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	d, ctx := f.driver(t, "1.1.0", f.plugin(nil)), t.Context()
	if _, err := d.Add(ctx, pod); err != nil {
		t.Fatal(err)
	}
	backend.Del(ctx, backend.last)
	if err := d.Check(ctx, pod); cnitest.CodeOf(err) != 3 {
		t.Errorf("CHECK of an endpoint that is gone: %v (code %d), want code 3", err, cnitest.CodeOf(err))
	}
	backend.Add(ctx, backend.last) // it comes back with another address
	if err := d.Check(ctx, pod); cnitest.CodeOf(err) != 101 {
		t.Errorf("CHECK of an endpoint with another address: %v (code %d), want code 101", err, cnitest.CodeOf(err))
	}
}

func TestCNI1_1_GC(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	ctx := t.Context()
	d := f.driver(t, "1.1.0", f.plugin(nil))
	other, err := cnitest.New(cnitest.Conflist("1.1.0", "storage", f.plugin(nil)), f.cache+"2", plugins)
	if err != nil {
		t.Fatal(err)
	}
	var all []cnitest.Endpoint
	for i := range 4 {
		e := cnitest.Endpoint{Container: fmt.Sprintf("c%d", i), Interface: "eth0", NetNS: "/run/netns/x"}
		all = append(all, e)
		if _, err := d.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := cnitest.Endpoint{Container: "c0", Interface: "net1", NetNS: "/run/netns/x"}
	if _, err := other.Add(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	// A driver with an empty cache, so that GC itself and not libcni's DEL of cached results does the work.
	fresh, err := cnitest.New(cnitest.Conflist("1.1.0", "hexapod", f.plugin(nil)), f.cache+"3", plugins)
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.GC(ctx, all[:2]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c0/eth0", "c0/net1", "c1/eth0"}, backend.keys()); diff != "" {
		t.Errorf("living after GC (-want +got):\n%s", diff)
	}
	if len(backend.dels) != 0 {
		t.Errorf("GC was %d DELs, want none", len(backend.dels))
	}
	// Without the list nothing may go.
	got := execute(t, "GC", "", "", "", "", []byte(`{"cniVersion":"1.1.0","name":"hexapod","type":"hexapod-cni","runDir":"`+f.run+`"}`))
	if got.exit != 1 || len(backend.keys()) != 3 {
		t.Errorf("GC without a list: %+v, living %v, want an error and 3 endpoints", got, backend.keys())
	}
}

func TestCNI_Version(t *testing.T) {
	f := newFolders(t) // no agent runs
	got, err := f.driver(t, "1.1.0", f.plugin(nil)).Versions(t.Context(), "hexapod-cni")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0.4.0", "1.0.0", "1.1.0"}, got); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestCNI3_Chain(t *testing.T) {
	for version := range results {
		t.Run(version, func(t *testing.T) {
			f, backend := newFolders(t), &fake{}
			f.serve(t, backend)
			d, ctx := f.driver(t, version, map[string]any{"type": "chained", "mark": "before0"},
				f.plugin(map[string]any{"dns": map[string]any{"nameservers": []string{"2001:db8::53"}}}),
				map[string]any{"type": "chained", "mark": "after0"}), t.Context()
			result, err := d.Add(ctx, pod)
			if err != nil {
				t.Fatalf("ADD: %v", err)
			}
			var got struct {
				Interfaces []struct{ Name string }
				IPs        []struct {
					Address   string
					Interface int
				}
				Routes []struct{ Dst string }
				DNS    struct{ Nameservers []string }
			}
			if err := json.Unmarshal([]byte(text(t, result)), &got); err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprint(got)
			want := "{[{before0} {hx1} {eth0} {after0}] [{2001:db8:ff::1/64 0} {2001:db8::100:1/128 2}] [{2001:db8:ff::/48} {::/0}] {[2001:db8:53::1]}}"
			if line != want {
				t.Errorf("result:\n got %s\nwant %s", line, want)
			}
			if err := d.Check(ctx, pod); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if err := d.Del(ctx, pod); err != nil {
				t.Errorf("DEL: %v", err)
			}
			if living := backend.keys(); len(living) != 0 {
				t.Errorf("living after DEL: %v", living)
			}
		})
	}
}

func TestCNI_LabelsAndFixedAddresses(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	ctx := t.Context()
	args := map[string]any{"cni": map[string]any{"labels": []map[string]string{{"key": "app", "value": "cart"}}}}
	d := f.driver(t, "1.1.0", f.plugin(map[string]any{"args": args}))
	fixed := pod
	fixed.Capabilities = map[string]any{"ips": []string{"2001:db8:5::7/64"}, "mac": "02:00:00:00:00:09"}
	if _, err := d.Add(ctx, fixed); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(backend.last.Labels, backend.last.Fixed); got != "map[app:cart] [2001:db8:5::7]" {
		t.Errorf("labels and fixed addresses: %s", got)
	}
	if err := d.Check(ctx, fixed); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

func TestForty(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	d := f.driver(t, "1.1.0", f.plugin(nil))
	var endpoints sync.WaitGroup
	failed := make(chan error, 80)
	for i := range 40 {
		endpoints.Go(func() {
			e := cnitest.Endpoint{Container: fmt.Sprintf("c%d", i), Interface: "eth0", NetNS: "/run/netns/x"}
			if _, err := d.Add(context.WithoutCancel(t.Context()), e); err != nil {
				failed <- err
			}
		})
	}
	endpoints.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if keys := backend.keys(); len(keys) != 40 || len(slices.Compact(keys)) != 40 {
		t.Errorf("%d endpoints living, want 40: %v", len(keys), keys)
	}
}
