package paired

import (
	"encoding/json"
	"os"
	"strings"
)

// Write writes a result to a file as JSON, one round and one figure a line, so that two runs can be compared.
func Write(path string, result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	lines := strings.NewReplacer(`{"kind"`, "\n"+`{"kind"`, `{"what"`, "\n"+`{"what"`).Replace(string(text))
	return os.WriteFile(path, []byte(lines+"\n"), 0o644)
}

// Load is the load of the machine over 1, 5 and 15 minutes.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
