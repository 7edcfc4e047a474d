// Command chained is a CNI plugin for tests: it adds one interface named after its "mark" to whatever came before, and on CHECK and DEL
// wants to see that interface again.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var config struct {
		CNIVersion string         `json:"cniVersion"`
		Mark       string         `json:"mark"`
		Prev       map[string]any `json:"prevResult"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&config); err != nil {
		fail(err.Error())
	}
	prev := config.Prev
	if prev == nil {
		prev = map[string]any{"cniVersion": config.CNIVersion}
	}
	interfaces, _ := prev["interfaces"].([]any)
	switch os.Getenv("CNI_COMMAND") {
	case "ADD":
		prev["interfaces"] = append(interfaces, map[string]any{"name": config.Mark})
		if config.Mark == "before0" {
			prev["ips"] = []any{map[string]any{"version": "6", "address": "2001:db8:ff::1/64", "interface": 0}}
			prev["routes"] = []any{map[string]any{"dst": "2001:db8:ff::/48"}}
			prev["dns"] = map[string]any{"nameservers": []string{"2001:db8:53::1"}}
		}
		if err := json.NewEncoder(os.Stdout).Encode(prev); err != nil {
			fail(err.Error())
		}
	case "CHECK", "DEL":
		for _, i := range interfaces {
			if i.(map[string]any)["name"] == config.Mark {
				return
			}
		}
		fail("prevResult lacks " + config.Mark)
	case "VERSION":
		fmt.Println(`{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}`)
	}
}

func fail(words string) {
	fmt.Printf(`{"cniVersion":"1.1.0","code":100,"msg":%q}`, words)
	os.Exit(1)
}
